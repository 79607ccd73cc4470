"""The worker: Beam's harness with our operations and coders.

    python -m pharos_beam.udf --id=ID --provision_endpoint=HOST:PORT   # started by an engine
    python -m pharos_beam.udf --serve=PORT [--import MODULE]           # functions run in this process
"""
import argparse
import importlib
import logging
import os
import sys
import threading

import grpc
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.portability.api import beam_provision_api_pb2_grpc
from apache_beam.portability.api import endpoints_pb2
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.runners.worker import worker_pool_main
from google.protobuf import json_format
from google.protobuf import text_format

from pharos_beam.udf import operations  # registers them  # pylint: disable=unused-import


def provision(endpoint, worker_id):
    """Asks the engine where everything is, and tells Beam's harness through variables."""
    with grpc.insecure_channel(endpoint) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        info = stub.GetProvisionInfo(
            beam_provision_api_pb2.GetProvisionInfoRequest(), metadata=[('worker_id', worker_id)],
            wait_for_ready=True, timeout=60).info
    os.environ['WORKER_ID'] = worker_id
    os.environ['PIPELINE_OPTIONS'] = json_format.MessageToJson(info.pipeline_options)
    os.environ['RUNNER_CAPABILITIES'] = ' '.join(info.runner_capabilities)
    for name, api in (('LOGGING', info.logging_endpoint), ('CONTROL', info.control_endpoint)):
        descriptor = endpoints_pb2.ApiServiceDescriptor(url=api.url)
        os.environ[name + '_API_SERVICE_DESCRIPTOR'] = text_format.MessageToString(descriptor)


def quiet():
    """Leaves what functions log, and warnings of Beam's harness.

    It reports each step of its start, and warns of what only pipelines have, such as a main session.
    """
    logging.getLogger('apache_beam').setLevel(logging.WARNING)
    logging.getLogger(sdk_worker_main.__name__).setLevel(logging.ERROR)


def serve(port):
    """Serves workers of engines in this process, until it is interrupted."""
    address, server = worker_pool_main.BeamFnExternalWorkerPoolServicer.start(
        use_process=False, port=port, state_cache_size=100 << 20)
    print(address, flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.stop(0)


def main(argv=None):
    """Runs a worker."""
    parser = argparse.ArgumentParser(prog='pharos_beam.udf')
    parser.add_argument('--id', help='id that the engine expects this worker under')
    parser.add_argument('--provision_endpoint', help='where the engine serves workers')
    parser.add_argument('--serve', type=int, metavar='PORT', help='serve engines in this process')
    parser.add_argument('--import', dest='modules', action='append', default=[], metavar='MODULE',
                        help='import a module first')
    args, _ = parser.parse_known_args(argv)
    quiet()
    for module in args.modules:
        importlib.import_module(module)
    if args.serve is not None:
        logging.basicConfig(level=logging.INFO)
        serve(args.serve)
        return
    if not args.id or not args.provision_endpoint:
        parser.error('an engine starts this program; it needs --id and --provision_endpoint, or --serve')
    provision(args.provision_endpoint, args.id)
    sys.argv = sys.argv[:1]
    sdk_worker_main.main(sys.argv)


if __name__ == '__main__':
    main()
