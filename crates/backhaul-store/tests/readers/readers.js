// Reads the *.jsonl.gz files of a folder with Node's zlib, and prints `n<TAB>id`
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
  .filter((name) => name.endsWith('.jsonl.gz'))
  .sort()
  .map((name) => path.join(folder, name));

function print(text) {
  for (const line of text.split('\n').filter((part) => part.length > 0)) {
    const record = JSON.parse(line);
    console.log(`${record.n}\t${record._backhaul.id}`);
  }
}

async function stream(file) {
  const chunks = [];
  for await (const chunk of fs.createReadStream(file).pipe(zlib.createGunzip())) {
    chunks.push(chunk);
  }
  print(Buffer.concat(chunks).toString('utf8'));
}

async function main() {
  if (how === 'sync') {
    // All files in one buffer: gzip files one after another are a gzip file.
    print(zlib.gunzipSync(Buffer.concat(paths.map((file) => fs.readFileSync(file)))).toString('utf8'));
  } else {
    for (const file of paths) await stream(file);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
