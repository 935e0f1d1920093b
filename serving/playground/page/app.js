// The playground: choose a bot, query it, share the query. The state is in the URL's fragment, which is not sent to the server.

import { chooser } from "./chooser.js";
import { byId, clean, make } from "./dom.js";
import { render } from "./markdown.js";
import { events, keepKey, request } from "./server.js";

const form = byId("ask");
const numbers = ["n", "max_tokens", "temperature", "top_p", "seed"];
let bots = [];
let chosen = "";
let lastSeed = "";
let running = null; // the AbortController of the running request
let retry = null; // the action that waits for an API key

const choose = chooser((name) => select(name));
const say = (text) => (byId("status").textContent = text);

function complain(text) {
  byId("problem").hidden = !text;
  byId("problem").textContent = clean(text);
}

// The bot

const load = () =>
  guarded(async () => {
    bots = await (await request("page/bots.json")).json();
    choose.fill(bots);
    byId("run").disabled = !bots.length;
    follow();
  }, load);

/** Show a bot: whether it can be compared, its picture and its card. */
function select(name) {
  chosen = name;
  choose.show(name);
  complain("");
  const bot = bots.find((known) => known.name === name);
  byId("compare-row").hidden = !bot?.challenger;
  document.title = name ? `${clean(name)} · Mynah` : "Mynah";
  byId("about-title").textContent = name ? `About ${clean(name)}` : "About the bot";
  byId("picture").hidden = true;
  byId("card").replaceChildren();
  if (bot) showAbout(name);
  else complain(name ? `There is no bot named “${name.slice(0, 80)}” here.` : "There is no bot here yet.");
}

function showAbout(name) {
  const address = `page/bots/${encodeURIComponent(name)}`;
  request(`${address}/picture`).then((response) => showPicture(name, response)).catch(() => {}); // a bot may have none
  const show = (...nodes) => chosen === name && byId("card").replaceChildren(...nodes);
  const showProblem = (text) => show(make("p", { className: "soft" }, clean(text)));
  guarded(async () => show(render(await (await request(`${address}/card`)).text())), () => showAbout(name), showProblem);
}

/** Draw the picture on a canvas: an image's URL cannot carry the API key, and the page's policy allows no other source. */
async function showPicture(name, response) {
  const image = await createImageBitmap(await response.blob());
  if (chosen !== name) return;
  const canvas = byId("picture");
  Object.assign(canvas, { width: image.width, height: image.height, hidden: false, ariaLabel: `A sample of what ${name} writes` });
  canvas.getContext("2d").drawImage(image, 0, 0);
}

// The state and the link that carries it

/** The form's values that differ from the defaults, so that links are short. */
function state() {
  const values = new URLSearchParams({ bot: chosen, prompt: form.elements.prompt.value });
  for (const name of numbers) {
    const field = form.elements[name];
    const value = name === "seed" ? field.value || lastSeed : field.value;
    if (value !== field.defaultValue) values.set(name, value);
  }
  if (comparing()) values.set("compare", "1");
  return values;
}

const linked = () => location.hash.includes("="); // the skip link's #ask is no state
const link = () => new URLSearchParams(linked() ? location.hash.slice(1) : "");

/** Fill the form from the link, without sending a request, since any page can open a link. */
function restore() {
  const values = link();
  for (const name of ["prompt", ...numbers]) form.elements[name].value = values.get(name) ?? form.elements[name].defaultValue;
  byId("compare").checked = values.has("compare");
  byId("settings").open ||= numbers.some((name) => values.has(name));
}

/** Choose the link's bot, or the first one, once the bots are loaded. */
function follow() {
  if (linked() && document.activeElement === document.body) byId("run").focus();
  select(link().get("bot") || chosen || bots[0]?.name || "");
}

const comparing = () => byId("compare").checked && !byId("compare-row").hidden;
const remember = () => history.replaceState(null, "", `#${state()}`);

// The answers

async function run() {
  if (!form.checkValidity()) byId("settings").open = true;
  if (!form.reportValidity() || !bots.some((bot) => bot.name === chosen)) return;
  running?.abort();
  const controller = (running = new AbortController());
  const seed = form.elements.seed.value || String(crypto.getRandomValues(new Uint32Array(1))[0]);
  const query = { prompt: form.elements.prompt.value, stream: true };
  for (const name of numbers) query[name] = Number(form.elements[name].value);
  query.seed = Number(seed);
  const addresses = comparing() ? [`${chosen}@champion`, `${chosen}@challenger`] : [chosen];
  lastSeed = seed;
  remember();
  complain("");
  busy(true);
  say(`${chosen} is writing …`);
  const columns = addresses.map((address) => column(address, query));
  byId("answers").replaceChildren(...columns.map(({ section }) => section));
  const ends = await Promise.all(columns.map((target) => stream(target, controller.signal)));
  if (running !== controller) return; // a newer request is running
  running = null;
  busy(false);
  if (!byId("card").querySelector("h3")) showAbout(chosen); // the first answer may have downloaded the bot's files
  const whole = ends.reduce((sum, count) => sum + count, 0);
  const all = query.n * columns.length;
  const how = controller.signal.aborted ? "Stopped" : whole < all ? "Broken off" : "Done";
  say(`${how}: ${whole < all ? `${whole} of ` : ""}${all} ${all === 1 ? "answer" : "answers"}, seed ${seed}.`);
}

function busy(now) {
  byId("answers").ariaBusy = String(now);
  if (!now && document.activeElement === byId("stop")) byId("run").focus();
  byId("stop").disabled = !now;
}

/** Create a heading and an empty element for each answer. */
function column(address, query) {
  const alias = address.split("@")[1];
  const title = make("h3", {}, alias ?? address);
  const answers = Array.from({ length: query.n }, (_, index) => place(query.prompt, index));
  const section = make("section", { ariaLabel: `Answers of ${address}` }, title, make("ol", {}, ...answers.map((one) => one.item)));
  return { address, query, title, answers, section };
}

function place(prompt, index) {
  const text = document.createTextNode("");
  const button = make("button", { type: "button", className: "small", ariaLabel: `Copy answer ${index + 1}` }, "Copy");
  button.addEventListener("click", () => copied(button, clean(prompt) + text.data));
  const words = make("p", { dir: "auto" }, make("b", {}, clean(prompt)), text);
  const note = make("span", { className: "soft note" });
  return { text, note, item: make("li", { className: "writing" }, make("div", {}, words, note), button) };
}

/** Write a column's answers as they arrive; return how many are complete. */
async function stream({ address, query, title, answers, section }, signal) {
  let whole = 0;
  const show = (text) => section.append(make("p", { className: "problem", role: "alert" }, clean(text)));
  await guarded(async () => {
    const response = await request("openai/v1/completions", { body: { model: address, ...query }, signal });
    const version = response.headers.get("X-Mynah-Version")?.split(":")[1];
    if (version) title.append(make("span", { className: "soft" }, ` version ${clean(version)}`));
    for await (const { choices = [] } of events(response)) {
      for (const { index, text, finish_reason: finish } of choices) {
        const answer = answers[index];
        answer.text.appendData(clean(text ?? ""));
        if (!finish) continue;
        whole += 1;
        answer.item.classList.remove("writing");
        if (finish === "length") answer.note.textContent = `cut after ${query.max_tokens} tokens`;
      }
    }
  }, run, show);
  for (const { item, text } of answers) {
    item.classList.remove("writing");
    item.hidden = !text.data; // no text arrived
  }
  return whole;
}

async function copied(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed"; // browsers have no clipboard for pages over plain http from another machine
  }
  say(button.textContent);
  setTimeout(() => (button.textContent = label), 1500);
}

// Errors

/** Run `doing`; show the server's error, or ask for a key and run `again` with it. */
async function guarded(doing, again, show = complain) {
  try {
    return await doing();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    if (error.status === 401) askForKey(again);
    show(error.status === undefined ? "The page failed to show this." : error.message);
    if (error.status === undefined) console.error(error);
  }
}

function askForKey(again) {
  retry = again;
  byId("key-form").hidden = false;
  byId("key").focus();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(byId("key").value.trim());
  byId("key").value = "";
  byId("key-form").hidden = true;
  complain("");
  form.focus();
  retry?.();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
});
byId("stop").addEventListener("click", () => running?.abort());
byId("share").addEventListener("click", ({ currentTarget }) => {
  remember();
  copied(currentTarget, location.href);
});
addEventListener("hashchange", () => {
  if (!linked()) return;
  restore();
  follow();
});
if (linked()) restore(); // before the bots are loaded, so that text typed meanwhile is not lost
load();
