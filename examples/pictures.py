"""Pictures: learn real handwriting, draw one page by class and one on the long way, read the verdict.

Run it with the minutes you have: ``python examples/pictures.py 2``.
"""

import sys

import mintage

minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0

loop = mintage.make("digits", minutes=minutes, name="example-digits")
verdict = loop.report.verdict
print(f"{verdict.word.upper()}. {verdict.reason} {verdict.next_step}")

model = mintage.load(loop.run)
sevens = model.generate(n=16, seed=100, given={"class": "7"}, out=loop.run / "sevens")
print("sixteen sevens, one evaluation each:", sevens.paths[-1])

slow = model.generate(n=4, seed=100, given={"class": "7"}, options=["steps=16"], out=loop.run / "slow")
print("the long way, sixteen steps:", slow.paths[-1])

again = model.generate(n=1, seed=103, given={"class": "7"}, out=loop.run / "again")
assert again.hashes[0] == sevens.hashes[3], "sample 3 of seed 100 is the sample of seed 103"
