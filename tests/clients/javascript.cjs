// SPDX-License-Identifier: Apache-2.0
//
// The vendor's JavaScript SDK against a site: node javascript.cjs SCENARIO, one JSON object out.
//
// Reads SITE_URL, SITE_KEY or SITE_TOKEN, SITE_ADDRESS (where the site's name leads) and, to listen,
// SITE_SOUND (a WAV file, 16 kHz, one channel of 16 bits). The SDK takes the package `ws` for its
// WebSockets where that is installed, and sends headers; without it Node's own, as in a browser.
'use strict';

const dns = require('node:dns');
const fs = require('node:fs');
const { env } = process;

const site = new URL(env.SITE_URL);
const lookup = dns.lookup;
dns.lookup = (name, ...rest) => lookup(name === site.hostname ? env.SITE_ADDRESS : name, ...rest);

const Cartesia = require('@cartesia/cartesia-js');
const client = new Cartesia.Cartesia({
  baseURL: env.SITE_URL,
  apiKey: env.SITE_KEY || null,
  token: env.SITE_TOKEN || null,
  maxRetries: 0,
});

const TEXT = 'The quick brown fox jumps over the lazy dog.';
const VOICE = 'a0e99841-438c-4a64-b679-ae501e7d6091';
const RATE = 24000;
const RAW = { container: 'raw', encoding: 'pcm_s16le', sample_rate: RATE };
const WHAT = { model_id: 'sonic-latest', voice: { mode: 'id', id: VOICE }, output_format: RAW };

/** What came of a reply: the kinds of its events in order, its samples in base64, its words. */
class Reply {
  constructor() {
    this.kinds = [];
    this.words = [];
    this.starts = [];
    this.ends = [];
    this.flushes = [];
    this.parts = [];
  }

  take(event) {
    this.kinds.push(event.type);
    if (event.type === 'chunk') this.parts.push(Buffer.from(event.data, 'base64'));
    if (event.type === 'flush_done') this.flushes.push(event.flush_id);
    if (event.type === 'timestamps') {
      this.words.push(...event.word_timestamps.words);
      this.starts.push(...event.word_timestamps.start);
      this.ends.push(...event.word_timestamps.end);
    }
  }

  toJSON() {
    const { parts, ...rest } = this;
    return { ...rest, rate: RATE, audio: Buffer.concat(parts).toString('base64') };
  }
}

/** Return the names in a socket's query, by which one sees how the key went. */
const query = (socket) => [...new URL(socket.url).searchParams.keys()].sort();

/** Open a socket, and gather each event and error on it. */
async function open() {
  const socket = await client.tts.websocket();
  const seen = { errors: [], kinds: {}, query: query(socket.socket) };
  socket.on('error', (error) => seen.errors.push(String(error.message)));
  socket.on('event', (event) => {
    seen.kinds[event.context_id] = [...(seen.kinds[event.context_id] || []), event.type];
  });
  return [socket, seen];
}

async function whole(context) {
  const reply = new Reply();
  for await (const event of context.receive({ timeout: 30000 })) reply.take(event);
  return reply;
}

function context(socket, more = {}) {
  return socket.context({ ...WHAT, add_timestamps: true, max_buffer_delay_ms: 0, ...more });
}

/** Send a recording as it comes from a microphone, faster. */
function sendSound(socket) {
  const pcm = fs.readFileSync(env.SITE_SOUND).subarray(44);
  for (let start = 0; start < pcm.length; start += 3200) {
    socket.sendRaw(pcm.subarray(start, start + 3200));
  }
}

const STT = { model: 'ink-2', encoding: 'pcm_s16le', sample_rate: 16000 };

const scenarios = {
  /** Whole answers over HTTP, and server-sent events. */
  async http() {
    const wav = await client.tts.generate({
      ...WHAT,
      transcript: TEXT,
      output_format: { ...RAW, container: 'wav' },
    });
    const reply = new Reply();
    const stream = await client.tts.generateSSE({ ...WHAT, transcript: TEXT, add_timestamps: true });
    for await (const event of stream) reply.take(event);
    const first = await client.voices.list({ limit: 3 });
    return {
      wav: Buffer.from(await wav.arrayBuffer()).toString('base64'),
      sse: reply,
      voices: first.data.map((voice) => voice.id),
    };
  },

  /** One context: text that grows, a flush between. */
  async grows() {
    const [socket, seen] = await open();
    const one = context(socket);
    await one.push({ transcript: 'The quick brown fox jumps. ', flush: true });
    await one.push({ transcript: 'Over the lazy ' });
    await one.push({ transcript: 'dog it goes.' });
    await one.no_more_inputs();
    const reply = await whole(one);
    socket.close();
    return { reply, errors: seen.errors, query: seen.query };
  },

  /** Several contexts on one socket at the same time. */
  async several() {
    const [socket, seen] = await open();
    const all = [1, 2, 3].map(() => context(socket));
    for (const one of all) {
      await one.push({ transcript: TEXT });
      await one.no_more_inputs();
    }
    const replies = await Promise.all(all.map(whole));
    socket.close();
    return { replies, errors: seen.errors, query: seen.query };
  },

  /** A reply that is cut short while it is spoken; a flush and an end cross its cancel. */
  async interrupts() {
    const [socket, seen] = await open();
    const long = context(socket);
    // Forty sentences: nearly two minutes of sound.
    await long.push({ transcript: `${TEXT} `.repeat(40) });
    for await (const event of long.receive({ timeout: 30000 })) if (event.type === 'chunk') break;
    await long.cancel();
    await long.flush();
    await long.no_more_inputs();
    const next = context(socket);
    await next.push({ transcript: TEXT });
    await next.no_more_inputs();
    const reply = await whole(next);
    socket.close();
    return { reply, cut: seen.kinds[long.contextId], errors: seen.errors, query: seen.query };
  },

  /** A recording as a file. */
  async transcribes() {
    const file = await Cartesia.toFile(fs.readFileSync(env.SITE_SOUND), 'sound.wav');
    return client.stt.transcribe({ file, model: 'ink-whisper', timestamp_granularities: ['word'] });
  },

  /** Audio as it comes, the client says when to transcribe. */
  async finalizes() {
    const socket = client.stt.manualFinalize.websocket(STT);
    const heard = { text: '', kinds: [], errors: [], query: query(socket.socket.platformSocket) };
    sendSound(socket);
    socket.send('finalize');
    for await (const event of socket.stream()) {
      if (event.type === 'error') heard.errors.push(String(event.error.message));
      if (event.type === 'close') heard.code = event.code;
      if (event.type !== 'message') continue;
      heard.kinds.push(event.message.type);
      if (event.message.type === 'transcript' && event.message.is_final) heard.text += event.message.text;
      if (event.message.type === 'flush_done') socket.send('close');
    }
    return heard;
  },

  /** Audio as it comes, the site finds where a turn ends. */
  async turns() {
    const socket = client.stt.autoFinalize.websocket(STT);
    const heard = { text: '', kinds: [], errors: [], query: query(socket.socket.platformSocket) };
    sendSound(socket);
    socket.send({ type: 'close' });
    for await (const event of socket.stream()) {
      if (event.type === 'error') heard.errors.push(String(event.error.message));
      if (event.type === 'close') heard.code = event.code;
      if (event.type !== 'message') continue;
      heard.kinds.push(event.message.type);
      if (event.message.type === 'turn.end') heard.text = `${heard.text} ${event.message.transcript}`;
    }
    return heard;
  },
};

const name = process.argv[2];
if (!Object.hasOwn(scenarios, name)) throw new Error(`no scenario ${name}: ${Object.keys(scenarios)}`);
scenarios[name]().then((found) => {
  process.stdout.write(JSON.stringify(found), () => process.exit(0));
});
