// The controls of the big screen: full screen, sound, and a screen that stays on. They appear when
// somebody moves the pointer, and disappear again.
import { Show } from "./show.js";
import { Sound } from "./sound.js";

const AWAKE_MS = 3_000;

const root = document.documentElement;
const controls = document.getElementById("controls");

// `#` begins the fragment of an address, so `?bg=#00ff00&tail=3` arrives without its colour.
if (location.search.endsWith("bg=") && /^#[0-9a-f]{6}/i.test(location.hash)) {
  location.replace(location.search + location.hash.slice(1));
}

let timer;
for (const event of ["pointermove", "pointerdown", "keydown"]) addEventListener(event, wake);

function wake() {
  clearTimeout(timer);
  controls.classList.add("awake");
  root.classList.remove("idle");
  timer = setTimeout(() => {
    controls.classList.remove("awake");
    root.classList.add("idle");
  }, AWAKE_MS);
}

const fullscreen = document.getElementById("fullscreen");
fullscreen.hidden = !document.fullscreenEnabled;
fullscreen.addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else root.requestFullscreen().catch(() => {});
});

const sound = new Sound(document.getElementById("sound"));
new Show(() => sound.play());

// A browser releases the lock when the page is hidden. It may refuse it, for example on battery.
async function keepScreenOn() {
  if (document.hidden) return;
  await navigator.wakeLock?.request("screen").catch(() => {});
}
document.addEventListener("visibilitychange", keepScreenOn);
keepScreenOn();
