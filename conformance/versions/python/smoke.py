"""One small pipeline for each thing that a version of Beam's Python SDK and Pharos have to agree about.

Runs in whatever environment the interpreter has, and prints a line for each case: its name, a tab, and `ok` or the error.
"""
import os
import sys
import tempfile
import traceback

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.io.restriction_trackers import OffsetRange
from apache_beam.io.restriction_trackers import OffsetRestrictionTracker
from apache_beam.metrics import Metrics
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.runners.runner import PipelineState
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that
from apache_beam.testing.util import equal_to
from apache_beam.transforms import trigger
from apache_beam.transforms import userstate
from apache_beam.transforms import window
from apache_beam.transforms.periodicsequence import PeriodicImpulse


def pipeline(*more):
    return beam.Pipeline(options=PipelineOptions(['--runner=pharos_beam.PharosRunner', '--pharos_max_attempts=1', *more]))


def timestamped(pairs):
    return beam.Create(pairs) | beam.MapTuple(lambda k, v, t: window.TimestampedValue((k, v), t))


def group_by_key():
    with pipeline() as p:
        grouped = p | beam.Create([('a', 1), ('b', 2), ('a', 3)]) | beam.GroupByKey()
        assert_that(grouped | beam.MapTuple(lambda k, v: (k, sorted(v))), equal_to([('a', [1, 3]), ('b', [2])]))


def combine():
    with pipeline() as p:
        means = p | beam.Create([('a', 1), ('b', 2), ('a', 3)]) | beam.combiners.Mean.PerKey()
        assert_that(means, equal_to([('a', 2.0), ('b', 2.0)]))
        total = p | 'Numbers' >> beam.Create(range(1000)) | beam.CombineGlobally(sum)
        assert_that(total, equal_to([499500]), label='total')


def side_inputs():
    with pipeline() as p:
        side = p | 'Side' >> beam.Create([('a', 1), ('b', 2)])
        main = p | beam.Create(['a', 'b'])
        looked_up = main | beam.Map(
            lambda k, d, l, n: (k, d[k], len(l), n), beam.pvalue.AsDict(side), beam.pvalue.AsList(side),
            beam.pvalue.AsSingleton(side | beam.combiners.Count.Globally()))
        assert_that(looked_up, equal_to([('a', 1, 2, 2), ('b', 2, 2, 2)]))
        by_key = main | 'ByKey' >> beam.Map(lambda k, m: (k, list(m[k])), beam.pvalue.AsMultiMap(side))
        assert_that(by_key, equal_to([('a', [1]), ('b', [2])]), label='multimap')


class AtTheEnd(beam.DoFn):
    """Collects numbers in a bag, counts them, and gives both out when the window ends."""
    NUMBERS = userstate.BagStateSpec('numbers', VarIntCoder())
    COUNT = userstate.CombiningValueStateSpec('count', beam.combiners.CountCombineFn())
    END = userstate.TimerSpec('end', userstate.TimeDomain.WATERMARK)

    def process(
            self, pair, w=beam.DoFn.WindowParam, numbers=beam.DoFn.StateParam(NUMBERS), count=beam.DoFn.StateParam(COUNT),
            end=beam.DoFn.TimerParam(END)):
        numbers.add(pair[1])
        count.add(pair[1])
        end.set(w.end)

    @userstate.on_timer(END)
    def at_the_end(
            self, key=beam.DoFn.KeyParam, numbers=beam.DoFn.StateParam(NUMBERS), count=beam.DoFn.StateParam(COUNT)):
        yield key, sorted(numbers.read()), count.read()
        numbers.clear()


def state_and_timers():
    with pipeline() as p:
        sums = (
            p | timestamped([('a', 1, 0), ('b', 2, 1), ('a', 3, 2), ('a', 5, 11)])
            | beam.WindowInto(window.FixedWindows(10)) | beam.ParDo(AtTheEnd()))
        assert_that(sums, equal_to([('a', [1, 3], 2), ('b', [2], 1), ('a', [5], 1)]))


def windows():
    events = [('a', 1, 0), ('a', 2, 4), ('a', 3, 11)]

    def spans(pair, w=beam.DoFn.WindowParam):
        return float(w.start), float(w.end), pair[1]

    with pipeline() as p:
        for name, fn, want in (
            ('Fixed', window.FixedWindows(10), [(0, 10, 3), (10, 20, 3)]),
            ('Sliding', window.SlidingWindows(10, 5), [(-5, 5, 3), (0, 10, 3), (5, 15, 3), (10, 20, 3)]),
            ('Sessions', window.Sessions(5), [(0, 9, 3), (11, 16, 3)]),
        ):
            got = (
                p | name + 'Events' >> timestamped(events) | name >> beam.WindowInto(fn)
                | name + 'Sum' >> beam.CombinePerKey(sum) | name + 'Spans' >> beam.Map(spans))
            assert_that(got, equal_to(want), label=name + 'Right')


class BoomError(Exception):
    pass


def failure():

    def fail(x):
        raise BoomError(f'boom {x}')

    try:
        with pipeline() as p:
            p | beam.Create([7]) | 'ThisStep' >> beam.Map(fail)  # pylint: disable=expression-not-assigned
    except BoomError as e:
        assert 'boom 7' in str(e) and 'ThisStep' in str(e), str(e)
    else:
        raise AssertionError('the job did not fail')


def metrics():

    class Count(beam.DoFn):

        def process(self, x):
            Metrics.counter('smoke', 'elements').inc()
            Metrics.distribution('smoke', 'sizes').update(x)
            yield x

    with pipeline() as p:
        p | beam.Create(range(10)) | beam.ParDo(Count())  # pylint: disable=expression-not-assigned
    found = p.result.metrics().query(MetricsFilter().with_namespace('smoke'))
    assert [c.committed for c in found['counters']] == [10], found
    d = found['distributions'][0].committed
    assert (d.count, d.sum, d.min, d.max) == (10, 45, 0, 9), d


class Ranges(beam.transforms.core.RestrictionProvider):

    def initial_restriction(self, n):
        return OffsetRange(0, n)

    def create_tracker(self, restriction):
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, n, restriction):
        return restriction.size()

    def split(self, n, restriction):
        return restriction.split(10)


class Count(beam.DoFn):
    """Numbers up to an element, and now and then the rest later."""

    def process(self, n, tracker=beam.DoFn.RestrictionParam(Ranges())):
        at = tracker.current_restriction().start
        while tracker.try_claim(at):
            yield at
            at += 1
            if at % 7 == 0:
                tracker.defer_remainder()
                return


def splittable_dofn():
    with pipeline() as p:
        assert_that(p | beam.Create([25, 5]) | beam.ParDo(Count()), equal_to([*range(25), *range(5)]))


def outputs_and_reshuffle():

    def parity(x):
        yield beam.pvalue.TaggedOutput('odd', x) if x % 2 else x

    with pipeline() as p:
        parts = p | beam.Create(range(6)) | beam.FlatMap(parity).with_outputs('odd', main='even')
        both = (parts.even | beam.Map(lambda x: -x), parts.odd) | beam.Flatten() | beam.Reshuffle()
        assert_that(both, equal_to([0, -2, -4, 1, 3, 5]))


def files():
    with tempfile.TemporaryDirectory() as d:
        with pipeline() as p:
            p | beam.Create(['b', 'a']) | beam.io.WriteToText(os.path.join(d, 'out'))  # pylint: disable=expression-not-assigned
        with pipeline() as p:
            assert_that(p | beam.io.ReadFromText(os.path.join(d, 'out*')), equal_to(['a', 'b']))


def stream():
    events = TestStream().advance_watermark_to(0)
    for at in (1, 2, 12):
        events = events.add_elements([window.TimestampedValue(('k', at), at)]).advance_watermark_to(at)
    with pipeline('--streaming') as p:
        panes = (
            p | events.advance_watermark_to_infinity() | beam.WindowInto(
                window.FixedWindows(10), trigger=trigger.AfterWatermark(early=trigger.AfterCount(1)),
                accumulation_mode=trigger.AccumulationMode.DISCARDING) | beam.GroupByKey()
            | beam.MapTuple(lambda k, v: list(v)))
        assert_that(panes, lambda got: equal_to([1, 2, 12])([x for pane in got for x in pane]))


def drain():
    p = pipeline('--streaming')
    p.options.view_as(StandardOptions).streaming = True
    ticks = p | PeriodicImpulse(fire_interval=0.05) | beam.Map(lambda x: Metrics.counter('smoke', 'ticks').inc())
    assert ticks
    result = p.run()
    while not result.metrics().query(MetricsFilter().with_name('ticks'))['counters']:
        assert result.state not in (PipelineState.FAILED, PipelineState.DONE), result.state
        result.wait_until_finish(duration=100)
    result.drain()
    assert result.wait_until_finish() == PipelineState.DRAINED, result.state


def worker_processes():

    def elsewhere(x, side):
        import os  # pylint: disable=redefined-outer-name,reimported
        return x * len(side), os.getpid()

    here = os.getpid()
    with pipeline('--pharos_workers=2') as p:
        side = p | 'Side' >> beam.Create([1, 2])
        got = p | beam.Create([3]) | beam.Map(elsewhere, beam.pvalue.AsList(side))
        assert_that(got | beam.MapTuple(lambda x, pid: (x, pid == here)), equal_to([(6, False)]))


CASES = (
    group_by_key, combine, side_inputs, state_and_timers, windows, failure, metrics, splittable_dofn,
    outputs_and_reshuffle, files, stream, drain, worker_processes)


def main():
    names = sys.argv[1:]
    failed = False
    for case in CASES:
        if names and case.__name__ not in names:
            continue
        try:
            case()
            outcome = 'ok'
        except Exception as e:  # pylint: disable=broad-except
            traceback.print_exc()
            outcome, failed = f'{type(e).__name__}: {e}'.partition('\n')[0], True
        print(case.__name__, outcome, sep='\t', flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
