"""The command line: parse, call a verb, print its result. Results go to stdout, progress and errors to stderr.

Flags are the small frozen set of ``docs/commands.md`` (a test holds them); everything else is ``-o key=value``. The verbs are
imported inside the commands, so that ``mintage --help`` needs no torch.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mintage.core.errors import MintageError
from mintage.core.words import say
from mintage.surfaces.display import Display

app = typer.Typer(
    name="mintage", no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help=say("From a folder of your own data to a generator you can trust, on your own machine."),
    epilog=say("Examples: mintage make photos/ · mintage make digits --minutes 2 · mintage generate digits-flow -n 100"),
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip

Data = Annotated[str, typer.Argument(help=say("A folder, a file, or a sample's name: digits, code."), metavar="DATA")]
ModelName = Annotated[str, typer.Argument(help=say("A run's folder or its name."), metavar="MODEL")]
Minutes = Annotated[float, typer.Option(help=say("The budget in minutes; the plan fits everything else to it."))]
Family = Annotated[str, typer.Option(help=say("Kind of model; the medium's default if empty."))]
Size = Annotated[str, typer.Option(help=say("Size of an example, such as 64."))]
Seed = Annotated[int, typer.Option(help=say("Seed of all randomness."))]
Name = Annotated[str, typer.Option(help=say("Name of the run."))]
From = Annotated[str, typer.Option("--from", metavar="MODEL", help=say("Start from this model's codec, sizes and weights."))]
With = Annotated[list[str], typer.Option("--with", metavar="MODEL", help=say("Mix with this model; each seed chooses one."))]
Codec = Annotated[str, typer.Option("--codec", metavar="MODEL", help=say("Model the codes of this trained autoencoder."))]
Options = Annotated[list[str], typer.Option("-o", metavar="KEY=VALUE", help=say("Any other setting; mintage list shows them."))]
DryRun = Annotated[bool, typer.Option("--dry-run", help=say("Show the plan and stop."))]
Runs = Annotated[str, typer.Option(help=say("Folder of runs (MINTAGE_RUNS)."), envvar="MINTAGE_RUNS")]
Json = Annotated[bool, typer.Option("--json", help=say("Print the result as JSON."))]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help=say("No progress."))]
Verbose = Annotated[bool, typer.Option("--verbose", help=say("Show tracebacks."))]


def _out(as_json: bool, value: Any, lines: Sequence[object]) -> None:
    """The result on stdout: JSON, or one line each."""
    text = json.dumps(value, ensure_ascii=False) if as_json else "\n".join(str(line) for line in lines)
    sys.stdout.write(text + "\n")


def _version(asked: bool) -> None:
    """Say which one this is, and stop."""
    if asked:
        from mintage import __version__

        _out(False, None, [f"mintage {__version__}"])
        raise typer.Exit


@app.callback(help=app.info.help, epilog=app.info.epilog)
def program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help=say("Show the version."))] = False,
) -> None:
    """What stands before a command."""


@app.command(help=say("The whole loop once: inspect, sketch, train, generate, evaluate, verdict. mintage DATA is the same."))
def make(
    data: Data, minutes: Minutes = 5.0, family: Family = "", size: Size = "", seed: Seed = 0, name: Name = "",
    from_: From = "", o: Options = [], dry_run: DryRun = False, runs: Runs = "", json_: Json = False, quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Run the loop."""
    from mintage.core.config import to_json
    from mintage.verbs.make import Loop
    from mintage.verbs.make import make as verb

    with Display(quiet) as display:
        result = verb(data, minutes, family, size, seed, name, tuple(o), runs, dry_run, display, from_)
    if not isinstance(result, Loop):
        _out(json_, to_json(result.recipe), [result.recipe.title])
        return
    verdict = result.report.verdict
    value = {
        "run": str(result.run), "verdict": to_json(verdict), "samples": [str(p) for p in result.made.paths],
        "report": str(result.run / "report" / "report.html"), "minutes": round(result.minutes, 2),
    }  # fmt: skip
    lines = [
        f"{say(verdict.word.upper())}. {verdict.reason}", verdict.next_step,
        say("Samples: {path}", path=next(reversed(result.made.paths), "–")), say("Report: {path}", path=value["report"]),
        say("Same as: {commands}", commands=" && ".join(result.commands)),
        say("More: mintage generate {run} -n 100 · Better: mintage make {data} --minutes {minutes:g} (goes on, nothing is lost)",
            run=result.run, data=data, minutes=minutes),
    ]  # fmt: skip
    _out(json_, value, lines)


@app.command(help=say("What is there, what is broken or doubled and why, and what it could become."))
def inspect(data: Data, o: Options = [], json_: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Look at data."""
    from mintage.core.config import parse, to_json
    from mintage.verbs.guesses import listed
    from mintage.verbs.inspect import data_keys, manifest
    from mintage.verbs.inspect import inspect as verb

    with Display(quiet) as display:
        found = verb(data, parse(o, (), data_keys()), display)
    aside = [row for row in manifest(found) if not row["admitted"]]
    keys = ("modality", "classes", "given_names", "sizes", "summary", "guesses")
    value = {**{key: to_json(getattr(found, key)) for key in keys}, "items": len(found.items), "set_aside": aside}
    _out(json_, value, [*found.summary, *listed(found.guesses), *(f"{row['path']}: {row['reason']}" for row in aside)])


@app.command(help=say("Train a model, or go on with one: the same command resumes."))
def train(
    data: Data, family: Family = "", task: Annotated[str, typer.Option(help=say("What it learns to undo."))] = "generate",
    minutes: Minutes = 5.0, size: Size = "", seed: Seed = 0, name: Name = "", from_: From = "", codec: Codec = "",
    o: Options = [], dry_run: DryRun = False,
    profile: Annotated[bool, typer.Option("--profile", help=say("Write a Chrome trace of a few steps."))] = False,
    runs: Runs = "", json_: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Train."""
    from mintage.core.config import to_json
    from mintage.verbs.plan import Plan, Wish
    from mintage.verbs.train import train as verb

    wish = Wish(data, family, task, minutes, size, seed, name, tuple(o), from_, codec)
    with Display(quiet) as display:
        result = verb(wish, runs, dry_run, profile, display)
    if isinstance(result, Plan):
        _out(json_, to_json(result.recipe), [result.recipe.title])
    else:
        _out(json_, {"run": str(result.run), "steps": result.steps, "minutes": result.minutes}, [result.run])


@app.command(help=say("Make samples as labelled files."))
def generate(
    model: ModelName, n: Annotated[int | None, typer.Option("-n", help=say("How many; 16 if not said."))] = None, seed: Seed = 0,
    prompt: Annotated[str, typer.Option(help=say("Beginning of a text, or a caption."))] = "",
    given: Annotated[list[str], typer.Option(help=say("A condition, such as class=3."), metavar="NAME=VALUE")] = [],
    out: Annotated[Path | None, typer.Option(help=say("Folder for the files."))] = None,
    with_: With = [],
    o: Options = [], runs: Runs = "", json_: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Make samples."""
    from mintage.core.config import to_json
    from mintage.verbs.generate import generate as verb

    pairs = dict(pair.partition("=")[::2] if "=" in pair and not os.path.isfile(pair) else ("", pair) for pair in given)
    with Display(quiet) as display:
        made = verb(model, n, seed, prompt, pairs, out, tuple(o), runs, display, tuple(with_))
    _out(json_, to_json(made), made.paths)


@app.command(help=say("Judge a model: gold, bubble or unproven, with the reason and a report to show."))
def evaluate(
    model: ModelName, seed: Seed = 0,
    gate: Annotated[bool, typer.Option("--gate", help=say("Exit with 3 on anything but gold."))] = False,
    runs: Runs = "", json_: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Judge a model."""
    from mintage.core.config import to_json
    from mintage.verbs.evaluate import evaluate as verb

    with Display(quiet) as display:
        report = verb(model, seed=seed, gate=gate, runs=runs, on=display)
    verdict = report.verdict
    _out(json_, to_json(report), [f"{say(verdict.word.upper())}. {verdict.reason}", verdict.next_step, report.path])


@app.command(help=say("Families side by side: same data, same minutes, same judge; one table, one page."))
def compare(
    data: Data, families: Annotated[str, typer.Option(help=say("Which, joined by commas; all that fit if empty."))] = "",
    minutes: Annotated[float, typer.Option(help=say("Minutes of training for each family."))] = 5.0,
    size: Size = "", seed: Seed = 0, name: Name = "", o: Options = [], runs: Runs = "",
    json_: Json = False, quiet: Quiet = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Compare families."""
    from mintage.core.config import to_json
    from mintage.verbs.compare import compare as verb
    from mintage.verbs.ranking import grid

    with Display(quiet) as display:
        result = verb(data, families.split(",") if families else (), minutes, size, seed, name, tuple(o), runs, display)
    aside = [f"{family}: {reason}" for family, reason in result.refused.items()]
    told = [line for line in (result.outcome.sentence, result.outcome.of_default, result.mixture) if line]
    _out(json_, to_json(result), [*grid(result.entries), *told, *aside, result.path])


@app.command(help=say("What the labels in files say, and which layer is broken."))
def verify(files: Annotated[list[Path], typer.Argument(metavar="FILE...")], json_: Json = False, verbose: Verbose = False) -> None:
    """Read labels."""
    from mintage.verbs.verify import verify as verb

    findings = [verb(path) for path in files]
    _out(json_, [f.value for f in findings], [f.line for f in findings])


@app.command(name="list", help=say("Plug-ins, what fits what, and every -o key."))
def list_(json_: Json = False, verbose: Verbose = False) -> None:
    """Show plug-ins."""
    from mintage.core import registry

    table = {axis: {name: registry.describe(axis, name) for name in registry.names(axis)} for axis in registry.CLASSES}
    lines = [f"{axis}\n" + "\n".join(f"  {name:<14} {text}" for name, text in names.items()) for axis, names in table.items()]
    if json_:
        _out(True, table, [])
        return
    from mintage.core.config import attribute_help
    from mintage.verbs.plan import valid_keys
    from mintage.verbs.stages import Config as Stages

    for name in registry.names("families"):
        lines.append(f"-o ({name})\n" + "\n".join(f"  {key:<14} {text}" for key, text in valid_keys(name).items()))
    for name in registry.names("modalities"):
        codec = registry.get("modalities", name)
        keys = dict.fromkeys((*getattr(codec, "options", ()), *getattr(codec, "outputs", ())))
        lines += [f"-o ({name})\n  " + " ".join(keys)] if keys else []
    shared = attribute_help(Stages)
    lines.append(f"-o ({say('two stages, such as vae+flow')})\n" + "\n".join(f"  {key:<14} {text}" for key, text in shared.items()))
    _out(False, table, lines)


@app.command(help=say("Every hop of a run with file and line."))
def explain(
    model: ModelName, runs: Runs = "", json_: Json = False, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Explain a run."""
    from mintage.verbs.explain import explain as verb

    hops = verb(model, runs)
    _out(json_, [hop.__dict__ for hop in hops], hops)


@app.command(help=say("What this machine can do."))
def doctor(json_: Json = False, verbose: Verbose = False) -> None:
    """Measure the machine."""
    from mintage.verbs.doctor import doctor as verb

    checks = verb()
    _out(json_, {c.name: c.value for c in checks}, checks)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point: ``mintage DATA`` means ``mintage make DATA``; every error is one sentence and an exit code."""
    _open_streams()
    args = [os.fsencode(arg).decode("utf-8", "replace") for arg in (sys.argv[1:] if argv is None else argv)]
    commands = {c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands}
    args = args or ["--help"]
    if not args[0].startswith("-") and args[0] not in commands:
        args.insert(0, "make")
    sys.exit(guarded(lambda: app(args=args, prog_name="mintage", standalone_mode=False), "--verbose" in args))


def _open_streams() -> None:
    """A stream that was closed before the start swallows; a letter that a stream cannot show is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (lives as long as the process)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)


def _flush() -> None:
    """Send the result off while a failure can still be said."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest has nowhere to go
        raise


def guarded(call: Callable[[], Any], verbose: bool = False) -> int:
    """Run ``call``; turn what it raises into one sentence on stderr and an exit code."""
    try:
        result = call()
        if result == 130:  # the option parser caught the Ctrl-C
            raise KeyboardInterrupt
        _flush()
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if verbose:
            traceback.print_exc()
        sentence, code = explained(error)
    if sentence:
        sys.stderr.write(f"mintage: {sentence}\n")
    return code


def explained(error: BaseException) -> tuple[str, int]:
    """An exception as a sentence for a person and an exit code."""
    if isinstance(error, MintageError):
        return str(error), error.exit_code
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return say("Interrupted; what was saved before is intact."), 130
    if isinstance(error, MemoryError):
        return say("Out of memory; choose a smaller --size, or -o batch with a smaller number."), 1
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return say("{where}{reason}.", where=where, reason=error.strerror or error), 2 if error.errno == errno.ENAMETOOLONG else 1
    if isinstance(error, typer.Exit):
        return "", error.exit_code
    shown = getattr(error, "format_message", None)  # usage errors of the option parser
    if shown is not None:
        return str(shown()), 2
    return say("Unexpected: {error}. Run again with --verbose and report it.", error=f"{type(error).__name__}: {error}"), 1


if __name__ == "__main__":
    main()
