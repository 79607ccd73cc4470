"""What the boot program of Beam's container does, for a worker as a plain process."""
import argparse
import os
import sys


def boot_main(argv):
  """What the container's boot program does, for a worker as a process."""
  parser = argparse.ArgumentParser()
  for name in ('id', 'provision_endpoint', 'control_endpoint',
               'logging_endpoint', 'artifact_endpoint', 'semi_persist_dir'):
    parser.add_argument('--' + name, default='')
  args, _ = parser.parse_known_args(argv)
  args.id = args.id.strip("'")  # Prism quotes it, for a shell nobody starts
  import grpc
  from google.protobuf import json_format
  from apache_beam.portability.api import beam_provision_api_pb2
  from apache_beam.portability.api import beam_provision_api_pb2_grpc
  control, logs, options = args.control_endpoint, args.logging_endpoint, '{}'
  capabilities = ''
  if args.provision_endpoint:
    with grpc.insecure_channel(args.provision_endpoint) as channel:
      stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
      info = stub.GetProvisionInfo(
          beam_provision_api_pb2.GetProvisionInfoRequest(),
          metadata=[('worker_id', args.id)],
          timeout=60).info
    control = info.control_endpoint.url or control
    logs = info.logging_endpoint.url or logs
    options = json_format.MessageToJson(info.pipeline_options)
    capabilities = ' '.join(info.runner_capabilities)
  env = dict(
      os.environ,
      WORKER_ID=args.id,
      PIPELINE_OPTIONS=options,
      RUNNER_CAPABILITIES=capabilities,
      CONTROL_API_SERVICE_DESCRIPTOR='url: "%s"' % control)
  if logs:
    env['LOGGING_API_SERVICE_DESCRIPTOR'] = 'url: "%s"' % logs
  os.execve(
      sys.executable,
      [sys.executable, '-m', 'apache_beam.runners.worker.sdk_worker_main'],
      env)


if __name__ == '__main__':
  boot_main(sys.argv[1:])
