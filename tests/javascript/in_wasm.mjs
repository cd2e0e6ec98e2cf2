// Embeds texts by a graph in WebAssembly, outside a browser: onnxruntime-web gets the two files of a graph as bytes.
import { readFileSync } from 'node:fs';
import { AutoTokenizer, env, mean_pooling, Tensor } from '@huggingface/transformers';
import * as ort from 'onnxruntime-web';

const { bundle, graph, texts, options } = JSON.parse(readFileSync(0, 'utf8'));
env.allowRemoteModels = false;
const tokenizer = await AutoTokenizer.from_pretrained(bundle);
const session = await ort.InferenceSession.create(readFileSync(`${bundle}/onnx/${graph}`), {
    executionProviders: ['wasm'],
    externalData: [{ path: `${graph}_data`, data: readFileSync(`${bundle}/onnx/${graph}_data`) }],
});
const vectors = [];
for (const text of texts) {
    const { input_ids, attention_mask } = tokenizer(text, { truncation: true });
    const feed = (tensor) => new ort.Tensor('int64', tensor.data, tensor.dims);
    const outputs = await session.run({ input_ids: feed(input_ids), attention_mask: feed(attention_mask) });
    const { data, dims } = outputs.last_hidden_state;
    const hidden = new Tensor('float32', data, dims);
    const pooled = options.pooling === 'cls' ? hidden.slice(null, 0) : mean_pooling(hidden, attention_mask);
    vectors.push((options.normalize ? pooled.normalize(2, -1) : pooled).tolist()[0]);
}
console.log(JSON.stringify({ vectors }));
