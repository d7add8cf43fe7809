// The server's answers, and its refusals as errors that carry its sentence.

const KEY = "edgecnn.key"; // of sessionStorage: gone with the tab

export class Refusal extends Error {
  /** `status` is HTTP's, 0 when no answer came. */
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

export const apiKey = () => sessionStorage.getItem(KEY);
export const setApiKey = (key) => sessionStorage.setItem(KEY, key);

export const status = () => ask("v1/status");

/** Where a picture is sent; the model's name may hold any character. */
export const predictUrl = (model, labels) =>
  `v1/predict${model ? `/${encodeURIComponent(model)}` : ""}?top_k=${labels}`;

/** The answer for one picture, and how long it took from here. */
export async function predict(file, model, labels) {
  const started = performance.now();
  const answer = await ask(predictUrl(model, labels), {
    method: "POST",
    body: file,
    headers: { "content-type": mediaType(file) },
  });
  return { answer, elapsed: performance.now() - started };
}

/** Its media type; a file of a kind that the browser does not know is left to the server to judge. */
export const mediaType = (file) => file.type || "image/x-unknown";

async function ask(url, { headers = {}, ...options } = {}) {
  const key = apiKey();
  if (key) headers.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(url, { ...options, headers, cache: "no-store" });
  } catch {
    throw new Refusal(0, "No answer came. Is the server still running?");
  }
  const said = await response.json().catch(() => null);
  if (response.ok && said !== null) return said;
  throw new Refusal(response.status, sentence(response.status, said));
}

const sentence = (code, said) =>
  typeof said?.error === "string" ? said.error : `The server answered with status ${code} and no explanation.`;
