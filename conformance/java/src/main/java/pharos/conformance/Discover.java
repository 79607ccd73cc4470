package pharos.conformance;

import java.io.File;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.jar.JarFile;
import org.junit.Ignore;
import org.junit.Test;
import org.junit.experimental.categories.Category;
import org.junit.runner.Description;
import org.junit.runner.Request;
import org.junit.runner.RunWith;

/** Finds the JUnit4 tests of a category in jars of tests. */
final class Discover {
  static final class T {
    String id; // class#method (as JUnit shows it, with [n] for parameterized tests)
    String cls;
    String method;
    List<String> categories = new ArrayList<>();
    String ignored; // why the test's own authors leave it out; null if they do not
  }

  /** All tests with a category that is (a subtype of) one of the named interfaces. */
  static List<T> find(List<File> jars, String wanted) throws Exception {
    Class<?> want = Class.forName(wanted);
    Map<String, T> out = new LinkedHashMap<>();
    Set<String> names = new TreeSet<>();
    for (File jar : jars) {
      try (JarFile jf = new JarFile(jar)) {
        jf.stream()
            .map(e -> e.getName())
            .filter(n -> n.endsWith(".class") && !n.startsWith("META-INF/"))
            .forEach(n -> names.add(n.substring(0, n.length() - 6).replace('/', '.')));
      }
    }
    for (String n : names) {
      Class<?> c;
      try {
        c = Class.forName(n, false, Discover.class.getClassLoader());
        if (c.isInterface() || Modifier.isAbstract(c.getModifiers()) || !looksLikeTest(c)) {
          continue;
        }
        // Enclosed suites only group nested classes, which are found by themselves.
        RunWith rw = c.getAnnotation(RunWith.class);
        if (rw != null && rw.value().getSimpleName().equals("Enclosed")) {
          continue;
        }
      } catch (Throwable t) {
        continue; // a class whose own dependencies are not here is no ValidatesRunner test
      }
      if (!mentions(c, want)) {
        continue;
      }
      collect(Request.aClass(c).getRunner().getDescription(), c, want, out);
    }
    return new ArrayList<>(out.values());
  }

  private static boolean looksLikeTest(Class<?> c) {
    if (!Modifier.isPublic(c.getModifiers())) {
      return c.isAnnotationPresent(RunWith.class);
    }
    for (java.lang.reflect.Method m : c.getMethods()) {
      if (m.isAnnotationPresent(Test.class)) {
        return true;
      }
    }
    return false;
  }

  private static boolean mentions(Class<?> c, Class<?> want) {
    if (isA(c.getAnnotation(Category.class), want)) {
      return true;
    }
    for (java.lang.reflect.Method m : c.getMethods()) {
      if (isA(m.getAnnotation(Category.class), want)) {
        return true;
      }
    }
    return false;
  }

  private static boolean isA(Category cat, Class<?> want) {
    if (cat != null) {
      for (Class<?> v : cat.value()) {
        if (want.isAssignableFrom(v)) {
          return true;
        }
      }
    }
    return false;
  }

  private static void collect(Description d, Class<?> cls, Class<?> want, Map<String, T> out) {
    if (!d.isTest()) {
      for (Description k : d.getChildren()) {
        collect(k, cls, want, out);
      }
      return;
    }
    Set<Class<?>> cats = new LinkedHashSet<>();
    addAll(cats, d.getAnnotation(Category.class));
    addAll(cats, (Category) cls.getAnnotation(Category.class));
    boolean hit = cats.stream().anyMatch(want::isAssignableFrom);
    if (!hit) {
      return;
    }
    T t = new T();
    t.cls = cls.getName();
    t.method = d.getMethodName() == null ? d.getDisplayName() : d.getMethodName();
    t.id = t.cls + "#" + t.method;
    Set<String> s = new TreeSet<>();
    for (Class<?> c : cats) {
      addNames(c, s);
    }
    t.categories.addAll(s);
    Ignore ig = d.getAnnotation(Ignore.class) != null ? d.getAnnotation(Ignore.class) : cls.getAnnotation(Ignore.class);
    t.ignored = ig == null ? null : "@Ignore" + (ig.value().isEmpty() ? "" : ": " + ig.value());
    out.putIfAbsent(t.id, t);
  }

  private static void addAll(Set<Class<?>> to, Category c) {
    if (c != null) {
      Collections.addAll(to, c.value());
    }
  }

  /** A category and the categories it extends, by short name (LargeKeys$Above10KB keeps its outer). */
  private static void addNames(Class<?> c, Set<String> s) {
    String n = c.getName();
    s.add(n.substring(n.lastIndexOf('.') + 1));
    for (Class<?> i : c.getInterfaces()) {
      addNames(i, s);
    }
  }

  private Discover() {}
}
