import { PortableRunner } from "apache-beam/runners/portable_runner/runner";

export interface PharosOptions {
  /** HOST:PORT of a Pharos server that runs already. Without it the runner starts one. */
  pharosEndpoint?: string;
  /** The program of an own server. By default $PHAROS_BINARY, or that of this platform's package, or pharos on the PATH. */
  pharosBinary?: string;
  /** Memory that an own server may take, like "512MiB"; what does not fit goes to disk. */
  pharosMemory?: string;
  /** Disk that an own server may take for data between transforms, like "10GiB". By default there is no limit. */
  pharosDisk?: string;
  /** Folder in which an own server keeps its jobs, to be looked at later. */
  pharosData?: string;
  /** Options of the SDK and of the job, like jobName. environmentType is LOOPBACK unless given. */
  [others: string]: any;
}

export declare class PharosRunner extends PortableRunner {
  constructor(options: PharosOptions);
}

/** Makes a runner that runs pipelines on Pharos. */
export declare function pharosRunner(options?: PharosOptions): PharosRunner;
