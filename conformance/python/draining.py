"""Runs pipelines that are drained from their first moment on."""
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.runner import PipelineState


def draining(runner):
  """Makes of a class of runners, PortableRunner or one that extends it, one
  that has the job drained when it has been prepared, and takes DRAINED for the
  success that it is: Beam's client takes only DONE for one."""
  class DrainingRunner(runner):
    def create_job_service(self, options):
      handle = super().create_job_service(options)
      run = handle.run

      def drain_and_run(preparation_id):
        handle.job_service.Drain(
            beam_job_api_pb2.DrainJobRequest(job_id=preparation_id))
        return run(preparation_id)

      handle.run = drain_and_run
      return handle

    def run_portable_pipeline(self, pipeline, options):
      result = super().run_portable_pipeline(pipeline, options)
      wait = result.wait_until_finish

      def wait_until_finish(duration=None):
        try:
          return wait(duration)
        except RuntimeError:
          if result._state != PipelineState.DRAINED:
            raise
          return result._state

      result.wait_until_finish = wait_until_finish
      return result

  return DrainingRunner
