// Questions to the server. An answer that is an error becomes an Error with the server's sentence.

const OURS = { "X-Fringemap": "1" };

function address(path, query) {
  const given = Object.entries(query || {}).filter(([, value]) => value !== null && value !== undefined);
  return given.length ? `api/${path}?${new URLSearchParams(given)}` : `api/${path}`;
}

async function checked(response) {
  if (response.ok) return response;
  let said = `the server answered ${response.status}`;
  try { said = (await response.json()).error || said; } catch { /* no JSON: the status must do */ }
  throw new Error(said);
}

async function reach(...given) {
  try {
    return await fetch(...given);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer; is it still running?");
  }
}

export async function ask(path, query, signal) {
  return (await checked(await reach(address(path, query), { signal }))).json();
}

export async function tell(path, body) {
  const headers = { ...OURS, "Content-Type": "application/json" };
  return (await checked(await reach(address(path), { method: "POST", headers, body: JSON.stringify(body) }))).json();
}

/** Pixels of a picture: rows, cols, data (16 bits), low and high (what 0 and 65535 stand for), and more. */
export async function pixels(path, query, signal) {
  const buffer = await (await checked(await reach(address(path, query), { signal }))).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { ...header, data: new Uint16Array(buffer, 4 + length) };
}

export async function text(path, query) {
  return (await checked(await reach(address(path, query)))).text();
}

export async function blob(path, query) {
  return (await checked(await reach(address(path, query)))).blob();
}

export function upload(file) {
  return reach(address("upload", { name: file.name }), { method: "POST", headers: OURS, body: file }).then(checked).then((r) => r.json());
}

export { address };
