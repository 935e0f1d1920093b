// Requests to the server with the caller's key, its error messages, and streamed answers.

const KEY = "mynah-key"; // in sessionStorage: gone with the tab

/** An error with a message for the user; `status` is the HTTP status, 0 without a response. */
export class Refused extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

export const keepKey = (key) => sessionStorage.setItem(KEY, key);

/** Send a request, with a body as JSON if there is one. Throws Refused, or an AbortError when `signal` aborts. */
export async function request(path, { body, signal } = {}) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  const method = body ? "POST" : "GET";
  const sent = { method, headers, signal, body: body && JSON.stringify(body), credentials: "same-origin" };
  const response = await unlessLost(() => fetch(path, sent), "The server can't be reached. Is it still running?");
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const text = await response.text().catch(() => "");
  let problem = "";
  try {
    const { error, detail } = JSON.parse(text);
    problem = error?.message ?? error ?? detail;
  } catch {
    // not JSON but a proxy's page, whose markup does not help the user
  }
  const message = typeof problem === "string" && problem ? problem.slice(0, 500) : `The server answered ${response.status}.`;
  const wait = Number(response.headers.get("Retry-After"));
  return new Refused(wait > 0 ? `${message} (try again in ${wait} s)` : message, response.status);
}

/** Yield the JSON objects of a stream of server-sent events up to `[DONE]`. Throws Refused when it breaks off or sends an error. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const lost = "The connection broke off before the answers were whole.";
  try {
    for (let rest = ""; ; ) {
      const { done, value } = await unlessLost(() => reader.read(), lost);
      if (done) throw new Refused(lost);
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const data of blocks.map(dataOf).filter(Boolean)) {
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw new Refused(String(event.error.message ?? event.error).slice(0, 500));
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function dataOf(block) {
  const lines = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice(5).trimStart()).join("\n");
}

async function unlessLost(doing, message) {
  try {
    return await doing();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refused(message);
  }
}
