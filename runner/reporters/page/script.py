"""A little convenience: a filter over the steps, all of them opened or closed at once, and what a link leads to is opened. The page is
complete without it."""

SCRIPT = """
(() => {
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  };
  for (const tools of document.querySelectorAll(".tools")) {
    const steps = [...tools.nextElementSibling.children];
    const [filter, open, close] = tools.children;
    tools.hidden = false;
    filter.addEventListener("input", () => {
      const wanted = filter.value.toLowerCase();
      for (const step of steps) step.hidden = !step.textContent.toLowerCase().includes(wanted);
    });
    open.addEventListener("click", () => steps.forEach((step) => { step.open = true; }));
    close.addEventListener("click", () => steps.forEach((step) => { step.open = false; }));
  }
  addEventListener("hashchange", reveal);
  reveal();
})();
"""
