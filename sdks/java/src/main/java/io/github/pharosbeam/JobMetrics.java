package io.github.pharosbeam;

import java.lang.reflect.Constructor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;
import org.apache.beam.model.jobmanagement.v1.JobApi;
import org.apache.beam.model.pipeline.v1.MetricsApi.MonitoringInfo;
import org.apache.beam.model.pipeline.v1.RunnerApi;
import org.apache.beam.runners.core.metrics.DefaultMetricResults;
import org.apache.beam.runners.core.metrics.MonitoringInfoConstants.Labels;
import org.apache.beam.runners.core.metrics.MonitoringInfoConstants.TypeUrns;
import org.apache.beam.runners.core.metrics.MonitoringInfoEncodings;
import org.apache.beam.sdk.metrics.MetricKey;
import org.apache.beam.sdk.metrics.MetricName;
import org.apache.beam.sdk.metrics.MetricResult;
import org.apache.beam.sdk.metrics.MetricResults;
import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.ByteString;

/** Turns the metrics of the Jobs API into the SDK's: those of the pipeline's own code, attempted and committed. */
final class JobMetrics {
  /** What the URNs of metrics that user code reports begin with (metrics.proto, MonitoringInfoSpecs). */
  private static final String USER = "beam:metric:user:";

  private final Map<String, String> stepNames = new HashMap<>();

  /** Metrics name transforms by id; users know their full names, which the pipeline holds. */
  JobMetrics(RunnerApi.Pipeline pipeline) {
    pipeline.getComponents().getTransformsMap().forEach((id, t) -> stepNames.put(id, t.getUniqueName()));
  }

  MetricResults read(JobApi.MetricResults m) {
    List<Supplier<Iterable<?>>> types =
        List.of(
            () -> values(m, TypeUrns.SUM_INT64_TYPE, MonitoringInfoEncodings::decodeInt64Counter),
            () -> values(m, TypeUrns.DISTRIBUTION_INT64_TYPE, p -> MonitoringInfoEncodings.decodeInt64Distribution(p).extractResult()),
            () -> values(m, TypeUrns.LATEST_INT64_TYPE, p -> MonitoringInfoEncodings.decodeInt64Gauge(p).extractResult()),
            () -> values(m, TypeUrns.SET_STRING_TYPE, p -> MonitoringInfoEncodings.decodeStringSet(p).extractResult()),
            () -> values(m, TypeUrns.BOUNDED_TRIE_TYPE, p -> MonitoringInfoEncodings.decodeBoundedTrie(p).extractResult()),
            () -> values(m, TypeUrns.HISTOGRAM_TYPE, MonitoringInfoEncodings::decodeInt64Histogram));
    return results(types);
  }

  /**
   * Makes the SDK's results of as many types as its version knows: Beam 2.60 has the first four, and later ones have added
   * types at the end. What a version does not know is never asked for, so that nothing of it need exist.
   */
  private static MetricResults results(List<Supplier<Iterable<?>>> types) {
    Constructor<?> c = DefaultMetricResults.class.getConstructors()[0];
    try {
      return (MetricResults) c.newInstance(types.stream().limit(c.getParameterCount()).map(Supplier::get).toArray());
    } catch (ReflectiveOperationException | IllegalArgumentException e) {
      throw new PharosException("this version of Beam's SDK has other metrics than the runner knows: " + c, e);
    }
  }

  /** The metrics of a type. A server that knows no committed values leaves them out; then they are null. */
  private <T> List<MetricResult<T>> values(JobApi.MetricResults m, String type, Function<ByteString, T> decode) {
    Map<MetricKey, T> committed = byKey(m.getCommittedList(), type, decode);
    Map<MetricKey, T> attempted = new LinkedHashMap<>(committed); // what was committed was attempted
    attempted.putAll(byKey(m.getAttemptedList(), type, decode));
    List<MetricResult<T>> out = new ArrayList<>();
    attempted.forEach((key, value) -> out.add(MetricResult.create(key, committed.get(key), value)));
    return out;
  }

  private <T> Map<MetricKey, T> byKey(List<MonitoringInfo> infos, String type, Function<ByteString, T> decode) {
    Map<MetricKey, T> out = new LinkedHashMap<>();
    for (MonitoringInfo i : infos) {
      if (i.getType().equals(type) && i.getUrn().startsWith(USER)) {
        out.put(key(i), decode.apply(i.getPayload()));
      }
    }
    return out;
  }

  private MetricKey key(MonitoringInfo i) {
    String id = i.getLabelsOrDefault(Labels.PTRANSFORM, "");
    return MetricKey.create(
        stepNames.getOrDefault(id, id),
        MetricName.named(i.getLabelsOrDefault(Labels.NAMESPACE, "-"), i.getLabelsOrDefault(Labels.NAME, "-")));
  }
}
