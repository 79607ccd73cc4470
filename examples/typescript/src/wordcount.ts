// Counts the words of a text with the Beam TypeScript SDK and writes one "word: count" line for each.
//
//   npm install && npm run build
//   pharos run -- node dist/wordcount.js --input=../data/kjv.txt --output=/tmp/counts.txt
import * as fs from "fs";
import * as path from "path";
import * as yargs from "yargs";
import * as beam from "apache-beam";
import { createRunner } from "apache-beam/runners/runner";
import { requireForSerialization } from "apache-beam/serialization";
import { counter, withContext } from "apache-beam/transforms/pardo";

// The worker gets the pipeline's functions as text; modules that they use are loaded there by name.
requireForSerialization("fs", fs);
requireForSerialization("buffer", { Buffer });

// A part of a file, which one bundle can read while another reads the next one. It ends where a line ends.
interface Part {
  file: string;
  from: number;
  to: number;
}

const partBytes = 256 * 1024;

function partsOf(file: string): Part[] {
  const text = fs.readFileSync(file);
  const parts: Part[] = [];
  for (let from = 0; from < text.length; ) {
    const end = text.indexOf("\n", from + partBytes);
    const to = end < 0 ? text.length : end + 1;
    parts.push({ file, from, to });
    from = to;
  }
  return parts;
}

function readLines(part: Part): string[] {
  const fd = fs.openSync(part.file, "r");
  try {
    const data = Buffer.alloc(part.to - part.from);
    const n = fs.readSync(fd, data, 0, data.length, part.from);
    return data.toString("utf8", 0, n).replace(/\n$/, "").split("\n");
  } finally {
    fs.closeSync(fd);
  }
}

function splitWords(line: string, context: any): string[] {
  // The words of Beam's Python word count, so that both give the same counts.
  const words = line.match(/[A-Za-z0-9_']+/g) || [];
  if (words.length === 0) context.emptyLines.increment(1);
  return words;
}

async function main() {
  const options = yargs
    .option("input", { type: "string", demandOption: true, describe: "file to read" })
    .option("output", { type: "string", demandOption: true, describe: "file to write" })
    .parseSync();
  const output = path.resolve(options.output);
  await createRunner({ jobName: "wordcount", ...options }).run((root) => {
    root
      .apply(beam.create(partsOf(path.resolve(options.input))))
      .flatMap(beam.withName("read", readLines))
      .flatMap(beam.withName("split", withContext(splitWords, { emptyLines: counter("empty_lines") }) as any) as any)
      .apply(beam.countPerElement())
      .map(beam.withName("format", (c: any) => `${c.element}: ${c.count}`))
      .apply(beam.groupBy((_line: string) => ""))
      .map(beam.withName("write", (all: any) => fs.writeFileSync(output, [...all.value].sort().join("\n") + "\n")));
  });
}

main().then(
  () => process.exit(),
  (error) => {
    console.error(error);
    process.exit(1);
  }
);
