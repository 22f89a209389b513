"use strict";
// The videos of one clip in step. Times are in the middle of a frame, so that rounding shows no other one.
const player = document.querySelector(".player");
const part = name => player.querySelector("." + name);
const rate = Number(player.dataset.rate);
const stage = part("stage"), canvas = stage.querySelector("canvas"), brush = canvas.getContext("2d");
const choices = { left: part("left"), right: part("right") };
let wanted = 0, playing = false;

const videos = () => [...player.querySelectorAll("figure:not(.broken) video")];
const titled = title => videos().find(video => video.dataset.title === title);
// The others follow this one; it has the sound.
const lead = () => titled("Result") || videos()[0];
const frames = () => Math.max(Math.round(lead().duration * rate) || 1, 1);
// What a video shows of the model's frame, as shares of it: left, top, width, height.
const place = video => (video.dataset.place || "0 0 1 1").split(" ").map(Number);
const shownFrame = () => playing ? Math.min(Math.floor(lead().currentTime * rate + 0.01), frames() - 1) : wanted;

function seek(frame) {
  wanted = Math.min(Math.max(frame, 0), frames() - 1);
  for (const video of videos()) {
    const last = (video.duration || 0) - 0.5 / rate;
    video.currentTime = Math.max(Math.min((wanted + 0.5) / rate, last), 0);
  }
  tell();
}

function play() {
  if (wanted >= frames() - 1) seek(0);
  playing = true;
  videos().forEach(start);
  tell();
}

// A pause that comes before the first frame is no error.
function start(video) {
  video.play().catch(() => {});
}

function pause() {
  const frame = shownFrame();
  playing = false;
  videos().forEach(video => video.pause());
  seek(frame);
}

const go = step => { if (playing) pause(); seek(wanted + step); };

// While they play, a video that is half a frame off is made a little faster or slower.
function follow() {
  const speed = Number(part("speed").value), first = lead();
  for (const video of videos()) {
    const behind = video === first ? 0 : first.currentTime - video.currentTime;
    if (Math.abs(behind) > 0.25 && first.currentTime < video.duration) video.currentTime = first.currentTime;
    video.playbackRate = speed * (Math.abs(behind) < 0.5 / rate ? 1 : behind > 0 ? 1.1 : 0.9);
  }
}

function tell() {
  const frame = shownFrame(), seconds = frame / rate;
  part("seek").max = frames() - 1;
  part("seek").value = frame;
  const clock = Math.floor(seconds / 60) + ":" + (seconds % 60).toFixed(2).padStart(5, "0");
  player.querySelector("output").value = `frame ${frame + 1} of ${frames()} · ${clock}`;
  part("play").textContent = playing ? "Pause" : "Play";
}

function draw() {
  const left = titled(choices.left.value), right = titled(choices.right.value);
  if (!left || !right || !right.videoWidth) return;
  const view = part("view").value, beside = view === "beside" ? 2 : 1, split = part("split").value / 100;
  const width = right.videoWidth, height = right.videoHeight;
  if (canvas.width !== width * beside || canvas.height !== height) {
    canvas.width = width * beside;
    canvas.height = height;
    stage.style.setProperty("--shape", canvas.width / height);
    stage.style.setProperty("--most", Math.max(2 * canvas.width, 480) + "px");
  }
  stage.classList.toggle("slider", view === "slider");
  stage.style.setProperty("--split", 100 * split + "%");
  // The model's frame, of which the right video may show a part.
  const [left0, top0, across, down] = place(right);
  const frame = { x: -left0 / across * width, y: -top0 / down * height, w: width / across, h: height / down };
  const paint = (video, x) => {
    const [l, t, w, h] = place(video), whole = { w: video.videoWidth / w, h: video.videoHeight / h };
    const scale = Math.min(frame.w / whole.w, frame.h / whole.h);
    const at = { x: frame.x + (frame.w - whole.w * scale) / 2, y: frame.y + (frame.h - whole.h * scale) / 2 };
    brush.save();
    brush.beginPath();
    brush.rect(x, 0, width, height);
    brush.clip();
    brush.drawImage(video, x + at.x + l * whole.w * scale, at.y + t * whole.h * scale, video.videoWidth * scale, video.videoHeight * scale);
    brush.restore();
  };
  brush.clearRect(0, 0, canvas.width, height);
  paint(right, width * (beside - 1));
  brush.save();
  if (view === "difference") brush.globalCompositeOperation = "difference";
  if (view === "slider") {
    brush.beginPath();
    brush.rect(0, 0, width * split, height);
    brush.clip();
    brush.clearRect(0, 0, width, height);
  }
  paint(left, 0);
  brush.restore();
}

function choose() {
  const shown = [choices.left.value, choices.right.value];
  stage.querySelectorAll("span").forEach((span, side) => { span.textContent = shown[side]; });
  for (const video of videos()) video.parentElement.classList.toggle("chosen", shown.includes(video.dataset.title));
  draw();
}

function offer() {
  const titles = videos().map(video => video.dataset.title);
  for (const select of Object.values(choices)) {
    const before = select.value;
    select.replaceChildren(...titles.map(title => new Option(title)));
    if (titles.includes(before)) select.value = before;
  }
}

function begin(video) {
  video.addEventListener("error", () => {
    video.parentElement.classList.add("broken");
    video.nextElementSibling.textContent = `${video.dataset.title}: this browser cannot play the file; H.264 in 4:2:0 can be played everywhere`;
    if (videos().length) { offer(); choose(); }
  });
  video.addEventListener("loadedmetadata", () => { video.currentTime = lead().currentTime; tell(); });
  video.addEventListener("seeked", draw);
  video.addEventListener("click", () => { choices.left.value = video.dataset.title; choose(); });
  video.addEventListener("ended", () => { if (playing && video === lead()) { seek(0); play(); } });
  const shown = () => {
    if (playing && video === lead()) { follow(); tell(); wanted = shownFrame(); }
    if (Object.values(choices).some(select => select.value === video.dataset.title)) draw();
    video.requestVideoFrameCallback(shown);
  };
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(shown);
}

function compare(source, { name, place }) {
  player.querySelector("figure.other")?.remove();
  if (source) {
    const figure = document.createElement("figure"), video = document.createElement("video");
    const caption = document.createElement("figcaption");
    figure.className = "other";
    Object.assign(video, { src: source, muted: true, playsInline: true, preload: "auto" });
    if (place) video.dataset.place = place;
    video.dataset.title = caption.textContent = `Result of ${name}`;
    figure.append(video, caption);
    part("tracks").append(figure);
    begin(video);
    if (playing) start(video);
  }
  offer();
  choices.left.value = source ? `Result of ${name}` : videos()[0].dataset.title;
  choose();
}

part("play").addEventListener("click", () => playing ? pause() : play());
player.querySelectorAll(".step").forEach(button => button.addEventListener("click", () => go(Number(button.value))));
part("seek").addEventListener("input", event => { const frame = Number(event.target.value); if (playing) pause(); seek(frame); });
part("split").addEventListener("input", draw);
part("view").addEventListener("change", draw);
part("speed").addEventListener("change", follow);
Object.values(choices).forEach(select => select.addEventListener("change", choose));
part("other")?.addEventListener("change", event => compare(event.target.value, event.target.selectedOptions[0].dataset));
part("full").addEventListener("click", () => document.fullscreenElement ? document.exitFullscreen() : player.requestFullscreen());
part("sound").addEventListener("click", event => {
  lead().muted = !lead().muted;
  event.target.textContent = lead().muted ? "Sound on" : "Sound off";
});
document.addEventListener("keydown", event => {
  if (event.target.matches("select, input") || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = { ArrowLeft: () => go(-1), ArrowRight: () => go(1), " ": () => playing ? pause() : play() };
  if (!keys[event.key] || (event.key === " " && event.target.matches("button"))) return;
  event.preventDefault();
  keys[event.key]();
});

videos().forEach(begin);
offer();
if (titled("Result")) choices.right.value = "Result";
else choices.right.value = videos().at(-1).dataset.title;
choose();
tell();
if (!matchMedia("(prefers-reduced-motion: reduce)").matches) play();
