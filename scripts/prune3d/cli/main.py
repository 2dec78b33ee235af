"""The commands, and what becomes of errors: one sentence, and 1 or 2 as the exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from prune3d._version import __version__
from prune3d.cli.deliver import deliver
from prune3d.cli.look import cost, inspect
from prune3d.cli.make import export, prune
from prune3d.cli.new import new
from prune3d.cli.use import evaluate, latency, predict
from prune3d.errors import UserError, one_line, what_failed

app = typer.Typer(
    name="prune3d",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (inspect, cost, prune, evaluate, predict, export, deliver, latency, new):
    app.command()(command)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Prune trained CNNs along depth, width and resolution.

    A NETWORK is the name of a registered network such as resnet20, timm/NAME,
    path/to/file.py:function, or a model file of prune3d that ends in .safetensors.
    """


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code: 1 for what went wrong, 2 for wrong usage."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> int:
    try:
        code = app(list(arguments) or ["--help"], prog_name="prune3d", standalone_mode=False)
        sys.stdout.flush()
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        return _tell(message, getattr(error, "exit_code", 2))
    except UserError as error:
        return _tell(str(error))
    except BrokenPipeError:  # what reads the output, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _tell(f"{error.filename or 'a file'} cannot be used ({error.strerror})")
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if _lacks_memory(error):
            return _tell(f"this machine has too little memory for it ({what_failed(error)[:120]})")
        if os.environ.get("PRUNE3D_TRACEBACK"):
            raise
        return _tell(
            f"{what_failed(error)}; this is a defect of prune3d, please report it with what "
            "PRUNE3D_TRACEBACK=1 before the command shows"
        )
    return code if isinstance(code, int) else 0


def _lacks_memory(error: Exception) -> bool:
    """Tell whether memory was refused, by Python or numpy or, in a text alone, by torch."""
    texts = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)


def _tell(message: str, code: int = 1) -> int:
    text = one_line(message).strip()
    if not text:
        return code
    print(f"prune3d: {text if text.endswith('.') else f'{text}.'}", file=sys.stderr)
    return code
