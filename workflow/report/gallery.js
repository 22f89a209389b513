"use strict";
// Filter and order; both stand in the address, so that going back finds them again.
const form = document.querySelector("form"), main = document.querySelector("main"), turn = form.querySelector(".turn");
const cards = [...main.children].map((article, place) => ({
  article, place,
  state: article.dataset.state,
  verdict: article.dataset.verdict,
  name: article.querySelector("h2 a").textContent,
  figures: JSON.parse(article.dataset.figures),
  text: [...article.querySelectorAll("h2, .why, .changed, .words")].map(found => found.textContent).join(" ").toLowerCase(),
}));
const names = new Intl.Collator(undefined, { numeric: true });

function compare(a, b, by) {
  if (by === "name" || by === "state") return names.compare(a[by], b[by]);
  const [one, other] = [a.figures[by], b.figures[by]];
  return by === "finished" ? other - one : one - other;
}

function show() {
  const wanted = Object.fromEntries(new FormData(form));
  const words = wanted.text.toLowerCase().split(/\s+/);
  const turned = turn.getAttribute("aria-pressed") === "true" ? -1 : 1;
  const by = wanted.sort, known = card => !by || by === "name" || by === "state" || by in card.figures;
  let shown = 0;
  for (const card of cards) {
    const fits = (!wanted.state || card.state === wanted.state) && (!wanted.verdict || card.verdict === wanted.verdict)
      && words.every(word => card.text.includes(word));
    card.article.hidden = !fits;
    shown += fits;
    const values = card.article.querySelector("dl");
    if (by !== "finished" && by in card.figures) values.dataset.sorted = `${by} ${card.figures[by]}`;
    else delete values.dataset.sorted;
  }
  // What has no such figure comes last either way.
  const ordered = [...cards].sort((a, b) => known(b) - known(a)
    || (by && known(a) ? turned * compare(a, b, by) : 0) || (by ? 1 : turned) * (a.place - b.place));
  main.append(...ordered.map(card => card.article));
  form.parentElement.querySelector(".none").hidden = shown > 0;
  const kept = new URLSearchParams(Object.entries({ ...wanted, turned: turned < 0 ? 1 : "" }).filter(([, value]) => value));
  history.replaceState(null, "", "#" + kept);
}

function restore() {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    if (name === "turned") turn.setAttribute("aria-pressed", "true");
    else if (form.elements[name]) form.elements[name].value = value;
  }
}

// The result plays while the pointer rests on its poster.
function playOver(poster) {
  let video;
  poster.addEventListener("pointerenter", () => {
    video = Object.assign(document.createElement("video"), { src: poster.dataset.video, muted: true, loop: true, playsInline: true });
    poster.append(video);
    video.play().catch(() => {});
  });
  poster.addEventListener("pointerleave", () => video?.remove());
}

form.addEventListener("input", show);
form.addEventListener("submit", event => event.preventDefault());
turn.addEventListener("click", () => {
  turn.setAttribute("aria-pressed", turn.getAttribute("aria-pressed") !== "true");
  show();
});
main.querySelectorAll("[data-video]").forEach(playOver);
if (location.hash) { restore(); show(); }
