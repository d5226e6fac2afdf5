// Reads the *.jsonl.gz and *.jsonl files of a folder with Node, and prints `n<TAB>id`
// for each record.
//
//   node readers.js sync|stream FOLDER
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');

const [how, folder] = process.argv.slice(2);
const paths = fs
  .readdirSync(folder)
  .filter((name) => /\.jsonl(\.gz)?$/.test(name))
  .sort()
  .map((name) => path.join(folder, name));

function print(text) {
  for (const line of text.split('\n').filter((part) => part.trim())) {
    const record = JSON.parse(line);
    console.log(`${record.n}\t${record._backhaul.id}`);
  }
}

const isGzip = (file) => file.endsWith('.gz');

async function stream(file) {
  const chunks = [];
  const bytes = fs.createReadStream(file);
  for await (const chunk of isGzip(file) ? bytes.pipe(zlib.createGunzip()) : bytes) {
    chunks.push(chunk);
  }
  print(Buffer.concat(chunks).toString('utf8'));
}

async function main() {
  if (how === 'sync') {
    // All files in one buffer: gzip files one after another are a gzip file.
    const whole = (files) => Buffer.concat(files.map((file) => fs.readFileSync(file)));
    const zipped = whole(paths.filter(isGzip));
    if (zipped.length > 0) print(zlib.gunzipSync(zipped).toString('utf8'));
    print(whole(paths.filter((file) => !isGzip(file))).toString('utf8'));
  } else {
    for (const file of paths) await stream(file);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
