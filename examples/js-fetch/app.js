// A JSON API that asks another one: what $UPSTREAM answers, and how long it took.
import { getEnvironment } from "wasi:cli/environment@0.2.12";

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const { UPSTREAM: upstream } = Object.fromEntries(getEnvironment());
  const began = Date.now();
  try {
    const response = await fetch(upstream);
    const body = await response.json();
    return Response.json({ upstream, body, milliseconds: Date.now() - began });
  } catch (error) {
    const text = `cannot ask ${upstream}: ${error.message}`;
    return Response.json({ error: text }, { status: 502 });
  }
}
