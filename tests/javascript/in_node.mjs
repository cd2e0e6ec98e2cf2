// Embeds texts as node and Electron's main process do: with onnxruntime-node, from a folder.
import { readFileSync } from 'node:fs';
import { env, pipeline } from '@huggingface/transformers';

const { bundle, load, texts, options } = JSON.parse(readFileSync(0, 'utf8'));
env.allowRemoteModels = false;
const extractor = await pipeline('feature-extraction', bundle, load);
const vectors = [];
for (const text of texts) vectors.push((await extractor(text, options)).tolist()[0]);
console.log(JSON.stringify({ vectors, dtype: extractor.model.sessions.model.config.dtype }));
