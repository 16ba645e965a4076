"""Text: learn a small corpus verb by verb, go on from a beginning, and see how much of it is copied.

The corpus is made here from a grammar, so the example needs no file. Run it with the minutes you have:
``python examples/text.py 2``.
"""

import itertools
import sys
from pathlib import Path

import mintage
from mintage.verbs.plan import Wish

WHO = ("The miller", "A heron", "My sister", "The postman", "A grey cat", "The tide")
DOES = ("waits for", "remembers", "carries", "forgets", "follows", "paints")
WHAT = ("the river", "a letter", "the first snow", "seven stones", "the evening train", "a lantern")
HOW = ("without a word", "until morning", "as if it were new", "in the rain", "and smiles")

minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0

lines = [f"{who} {does} {what} {how}." for who, does, what, how in itertools.product(WHO, DOES, WHAT, HOW)]
corpus = Path("lines.txt")
corpus.write_text("\n".join(lines[i * 997 % len(lines)] for i in range(len(lines))), encoding="utf-8")

trained = mintage.train(Wish(str(corpus), minutes=minutes, name="example-lines"))
model = mintage.load(trained.run)

made = model.generate(n=1, seed=7, prompt="A heron", options=["temperature=0.7", "length=80"], out=trained.run / "heron")
for path in made.paths:
    print(path.read_text(encoding="utf-8"))

report = model.evaluate(n=32)
for name in ("nats per character", "nats per character gained over the sketch", "copies"):
    line = report.line(name)
    if line:
        print(f"{name}: {line.made.value:.3f} ({line.made.low:.3f} to {line.made.high:.3f})")
print(report.verdict.word, "·", report.verdict.reason)
