import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.io.TextIO;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.options.Validation.Required;
import org.apache.beam.sdk.transforms.Count;
import org.apache.beam.sdk.transforms.Filter;
import org.apache.beam.sdk.transforms.FlatMapElements;
import org.apache.beam.sdk.transforms.MapElements;
import org.apache.beam.sdk.values.KV;
import org.apache.beam.sdk.values.TypeDescriptors;

import java.util.Arrays;

/** Counts the words of a text, as Beam's own word count does, and writes one "word: count" line for each. */
public class WordCount {
  public interface Options extends PipelineOptions {
    @Required
    String getInputFile();

    void setInputFile(String path);

    @Required
    String getOutput();

    void setOutput(String prefix);
  }

  public static void main(String[] args) {
    Options o = PipelineOptionsFactory.fromArgs(args).withValidation().as(Options.class);
    Pipeline p = Pipeline.create(o);
    p.apply(TextIO.read().from(o.getInputFile()))
        .apply(FlatMapElements.into(TypeDescriptors.strings()).via((String line) -> Arrays.asList(line.split("[^\\p{L}]+"))))
        .apply(Filter.by((String word) -> !word.isEmpty()))
        .apply(Count.perElement())
        .apply(MapElements.into(TypeDescriptors.strings()).via((KV<String, Long> c) -> c.getKey() + ": " + c.getValue()))
        .apply(TextIO.write().to(o.getOutput()));
    p.run().waitUntilFinish();
  }
}
