/**
 * Runs Beam pipelines of the Java SDK on Pharos, over Beam's Jobs API.
 *
 * <p>{@link io.github.pharosbeam.PharosRunner} is what a pipeline names. It starts a server ({@code pharos serve}) unless
 * {@link io.github.pharosbeam.PharosPipelineOptions} name one, translates the pipeline, stages its files and starts the job;
 * {@link io.github.pharosbeam.PharosPipelineResult} follows the job to its end and then releases what was started for it. By
 * default the pipeline's own JVM runs its code (LOOPBACK), so that nothing has to be packed or shipped.
 *
 * <p>Nothing here depends on how Pharos works inside: any server of the Jobs API will do.
 */
package io.github.pharosbeam;
