// Following a player.

/** Call a function at every frame while a player plays, and when its position changes. */
export function whilePlaying(player, follow) {
  let waiting = 0;
  const step = () => {
    waiting = 0;
    follow();
    if (!player.paused) waiting = requestAnimationFrame(step);
  };
  for (const name of ["play", "seeked", "timeupdate"]) {
    player.addEventListener(name, () => { if (!waiting) step(); });
  }
}

/** Duration of a recording in seconds; NaN or Infinity if the browser cannot tell. */
export function probeDuration(url) {
  const probe = new Audio();
  return new Promise((resolve) => {
    for (const name of ["loadedmetadata", "error"]) {
      probe.addEventListener(name, () => resolve(probe.duration));
    }
    probe.preload = "metadata";
    probe.src = url;
  });
}
