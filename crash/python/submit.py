"""Submits the crash suite's streaming job and prints its id; does not wait for its end."""
import argparse

import apache_beam as beam
import crash_stream
from apache_beam.options.pipeline_options import PipelineOptions


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--count', type=int, required=True, help='ids')
  parser.add_argument('--seed', type=int, required=True)
  parser.add_argument('--batch', type=int, required=True, help='ids that a source emits at once')
  parser.add_argument('--pause', type=float, required=True, help='seconds that it waits then')
  parser.add_argument('--alarm', type=float, required=True, help='seconds until timers in processing time fire')
  parser.add_argument('--out', required=True, help='folder for the result')
  parser.add_argument('--changed', action='store_true', help='the pipeline as somebody has worked on it')
  args, rest = parser.parse_known_args()
  pipeline = beam.Pipeline(options=PipelineOptions(rest, streaming=True, allow_unsafe_triggers=True))
  crash_stream.build(pipeline, args.count, args.seed, args.batch, args.pause, args.alarm, args.out, args.changed)
  # The runner that has been asked may be dead by now: ask it for nothing more.
  print(pipeline.run()._job_id)


if __name__ == '__main__':
  main()
