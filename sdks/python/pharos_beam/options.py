"""Pipeline options of the runner."""
import argparse

from apache_beam.options.pipeline_options import PipelineOptions


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 1 on')
    return int(text)


class PharosOptions(PipelineOptions):
    """Options of `PharosRunner`.

    Beam's own `PortableOptions` apply as well: `--environment_type` (LOOPBACK unless given) and
    `--environment_config` say where the pipeline's code runs, and `--job_endpoint` stands in for
    `--pharos_endpoint`.
    """

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            '--pharos_endpoint', metavar='HOST:PORT',
            help='A Pharos server that runs already. Without it this program starts one of its own.')
        parser.add_argument(
            '--pharos_binary', metavar='PATH',
            help='The pharos program of an own server. By default $PHAROS_BINARY, else the one in this package.')
        parser.add_argument(
            '--pharos_memory', metavar='SIZE',
            help='Memory that an own server may take, like 512MiB or 4GiB; what does not fit goes to disk.')
        parser.add_argument(
            '--pharos_disk', metavar='SIZE',
            help='Element data that an own server keeps on disk at most. By default there is no limit.')
        parser.add_argument(
            '--pharos_data', metavar='DIR',
            help='Folder in which an own server keeps its jobs, to be looked at later. By default it keeps nothing.')
        parser.add_argument(
            '--pharos_workers', type=_positive, metavar='N',
            help='Run the code in N processes of this interpreter, on the machine of the server, instead of in this'
            ' program. With --environment_type, the number of workers for each environment of the job.')
        parser.add_argument(
            '--pharos_max_attempts', type=_positive, metavar='N',
            help='How often a failing bundle is tried before the job fails. By default what the server was'
            ' started with.')
        parser.add_argument(
            '--pharos_progress', choices=('auto', 'on', 'off'), default='auto',
            help='Show how far the job is while the program waits for it. auto does so on a terminal and in a'
            ' notebook.')


#: Names, among a job's options, of what the server looks for.
SERVER_NAMES = {'pharos_workers': 'workers_per_environment', 'pharos_max_attempts': 'max_attempts'}
