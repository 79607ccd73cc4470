// A job on Pharos.
"use strict";
const { JobMessage_MessageImportance, JobState_Enum } = require("apache-beam/proto/beam_job_api");
const { PipelineResult } = require("apache-beam/runners/runner");

const NO_REASON = "the runner gave no reason";
const { CANCELLED, DONE, DRAINED, FAILED, UPDATED } = JobState_Enum;
const LAST = [DONE, FAILED, CANCELLED, UPDATED, DRAINED];

/** How long a server may be gone before its jobs count as lost: one that keeps them goes on when it is started again. */
const RESTART_LIMIT_MS = 60000;
const RESTART_PAUSE_MS = 200;

/**
 * A job that has been started. It follows what the job says, and once the job has ended, or its server is gone, it closes what
 * was opened for it, so that nothing keeps the program from its end.
 */
class PharosResult extends PipelineResult {
  /** @param close closes what was opened for the job */
  constructor(runner, jobId, close) {
    super();
    this.runner = runner;
    this.jobId = jobId;
    this.reason = NO_REASON; // the last error of the job
    this.ended = this.follow(close);
    this.ended.catch((e) => console.error(e.message)); // perhaps nobody waits
  }

  /** Resolves to the last state. */
  async follow(close) {
    try {
      const state = await this.readToTheEnd();
      this.finalMetrics = await this.rawMetrics();
      return (this.finalState = state);
    } catch (e) {
      throw this.lost(e);
    } finally {
      await close();
    }
  }

  /** Resolves to the last state, also over a restart of a server that is not the program's own. */
  async readToTheEnd() {
    for (let gone; ; await new Promise((resolve) => setTimeout(resolve, RESTART_PAUSE_MS))) {
      this.heard = false;
      try {
        return await this.readMessages();
      } catch (e) {
        if (this.heard || gone === undefined) gone = Date.now();
        if (this.runner.use || e.code === "NOT_FOUND" || Date.now() - gone >= RESTART_LIMIT_MS) throw e;
      }
    }
  }

  /** Reads messages to their end, beginning with those that have been read before. */
  async readMessages() {
    let state;
    for await (const { response } of (await this.runner.getClient()).getMessageStream({ jobId: this.jobId }).responses) {
      this.heard = true;
      if (response.oneofKind === "stateResponse") state = response.stateResponse.state;
      const message = response.oneofKind === "messageResponse" ? response.messageResponse : undefined;
      if (message?.importance === JobMessage_MessageImportance.JOB_MESSAGE_ERROR) this.reason = message.messageText;
    }
    if (!LAST.includes(state)) throw new Error("its messages end before it does");
    return state;
  }

  lost(cause) {
    return new Error(`lost job ${this.jobId}: the server at ${this.runner.endpoint()} does not answer: ${cause.message}`, { cause });
  }

  /** Resolves to an object with the state of now. */
  async getState() {
    if (this.finalState !== undefined) return { state: this.finalState };
    return Promise.race([this.ask(this.runner.getJobState(this.jobId)), this.ended.then((state) => ({ state }))]);
  }

  /** Resolves to the last state; or to that of now if the job has not ended within a duration in milliseconds. */
  async waitUntilFinish(duration) {
    if (duration === undefined) return this.ended;
    let timer;
    const over = new Promise((resolve) => (timer = setTimeout(resolve, duration)));
    try {
      return (await Promise.race([this.ended, over])) ?? (await this.getState()).state;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Stops the job; resolves when it has ended. */
  async cancel() {
    if (this.finalState !== undefined) return;
    await Promise.race([this.ask(this.runner.cancelJob(this.jobId)), this.ended]);
    await this.ended;
  }

  /** Resolves to the committed metrics, of now or of the end. */
  async rawMetrics() {
    return this.finalMetrics ?? (await this.ask(this.runner.getJobMetrics(this.jobId))).metrics.committed;
  }

  async ask(answer) {
    try {
      return await answer;
    } catch (e) {
      throw e.code === "UNAVAILABLE" ? this.lost(e) : e;
    }
  }
}

module.exports = { PharosResult };
