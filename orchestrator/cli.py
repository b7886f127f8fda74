"""Command line interface `echo-matrix`: finds the commands, prints help, turns errors into messages and exit codes.

Exit codes: 0 success · 1 something failed or is not done · 2 bad input · 130 interrupted.
"""

import contextlib
import errno
import gc
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command_from_info
from typer.models import CommandInfo

from orchestrator.commands.command import (
    EXIT_CODES,
    Command,
    Group,
    declared_commands,
    exit_codes_text,
    find_command,
    flattened,
)
from orchestrator.commands.values import PlainValues
from orchestrator.errors import Interrupted, OrchestratorError, disk_error
from orchestrator.host.user import complete_user
from orchestrator.ui.terminal import READER_GONE, discard_output, open_closed_streams, print_anything
from workloads.runtime.masking import mask, secrets_of

EPILOG = f"""\
{exit_codes_text(EXIT_CODES)}

`echo-matrix COMMAND --help` shows the options and examples of a command."""

SUGGESTION = re.compile(r"\.? Did you mean (.+)\?$|\.? \(Possible options: (.+)\)$")
"""typer's suggestion of another spelling."""
COMPLETING = "_ECHO_MATRIX_COMPLETE"
"""Environment variable by which a shell asks for candidates."""
OBJECTS = 10_000
"""Made between two searches for garbage; commands make many objects and little garbage, and Python's own 700 cost a
report of 10,000 jobs a fifth of its time."""
PYTHON_TYPE = re.compile(r" <[^>]*>$")
PLAIN_WORDS = (
    (re.compile(r"Input should be a valid integer\b.*"), "write a whole number"),
    (re.compile(r"Input should be a valid number\b.*"), "write a number"),
    (re.compile(r"Input should be greater than or equal to (\S+)"), r"allowed: \1 and more"),
    (re.compile(r"Input should be less than or equal to (\S+)"), r"allowed: at most \1"),
    (re.compile(r"Value error, ('.*') is not one of (.+?)\.?$"), r"\1; allowed: \2"),
    (re.compile(r"\[x>=(\d+)\]"), r"[\1 and more]"),
    (re.compile(r"\[(\d+)<=x<=(\d+)\]"), r"[\1 to \2]"),
)
"""What typer says of numbers and choices, and the same in plain words."""


class _Verbatim:
    """Prints the epilog without wrapping it."""

    epilog: str | None

    def format_epilog(self, _context: Any, formatter: Any) -> None:
        formatter.write_paragraph()
        formatter.write(f"{self.epilog}\n")


class CommandHelp(_Verbatim, TyperCommand):
    """Help of one command."""

    def parse_args(self, context: Any, arguments: list[str]) -> Any:
        """Read the command line."""
        PlainValues.of(self.get_params(context))
        return super().parse_args(context, arguments)

    def collect_usage_pieces(self, context: Any) -> list[str]:
        """Options and arguments; required ones without the braces that typer adds."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(context)]

    def format_options(self, context: Any, formatter: Any) -> None:
        """Write arguments and options."""
        for kind in ("argument", "option"):
            if rows := self.help_rows(context, kind):
                with formatter.section(f"{kind.capitalize()}s"):
                    formatter.write_dl(rows)

    def help_rows(self, context: Any, kind: str) -> list[tuple[str, str]]:
        """Name and help of each argument or option, without the Python type that typer adds to arguments."""
        records = [
            parameter.get_help_record(context)
            for parameter in self.get_params(context)
            if parameter.param_type_name == kind
        ]
        return [(PYTHON_TYPE.sub("", record[0]), in_plain_words(record[1])) for record in records if record]


class _Programs(Mapping[str, Any]):
    """The commands by name, as typer runs them; the module of one is imported when it is asked for."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = self._load(find_command(name))
        return self._loaded[name]

    def _load(self, command: Command) -> Any:
        info = CommandInfo(cls=CommandHelp, callback=flattened(command.function), epilog=command.epilog)
        return get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode=None)

    def __iter__(self) -> Iterator[str]:
        return iter([one.name for one in declared_commands()])

    def __len__(self) -> int:
        return len(declared_commands())


@contextlib.contextmanager
def _interruptions() -> Iterator[None]:
    """Raise KeyboardInterrupt as an error with words."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None


class GroupedHelp(_Verbatim, TyperGroup):
    """Help of the program: commands under the headings of their groups."""

    def __init__(self, **given: Any) -> None:
        """As typer makes it, with the commands of this program."""
        super().__init__(**given)
        self.commands = _Programs()  # type: ignore[assignment]

    def parse_args(self, context: Any, arguments: list[str]) -> Any:
        """Read the options before the command."""
        PlainValues.of(self.get_params(context))
        return super().parse_args(context, arguments)

    def make_context(self, *given: Any, **options: Any) -> Any:
        """Import the command; typer would end without a word on Ctrl-C."""
        with _interruptions():
            return super().make_context(*given, **options)

    def invoke(self, context: Any) -> Any:
        """Read the arguments of the command and run it."""
        with _interruptions():
            return super().invoke(context)

    def format_commands(self, _context: Any, formatter: Any) -> None:
        """Write the groups; summaries are wrapped, never cut."""
        commands = declared_commands()
        width = max(len(command.name) for command in commands)
        for group in Group:
            with formatter.section(group.value):
                formatter.write_dl(
                    [(command.name.ljust(width), command.summary) for command in commands if command.group is group]
                )

    def list_commands(self, _context: Any) -> list[str]:
        """Names of the commands."""
        return list(self.commands)


app = typer.Typer(
    name="echo-matrix",
    cls=GroupedHelp,
    help="Run a study that is declared as a matrix of experiments: every run executes whatever is missing.",
    epilog=EPILOG,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from orchestrator.provenance import version

        print(f"echo-matrix {version()}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; an expected error becomes one line on standard error and an exit code."""
    gc.set_threshold(OBJECTS)
    open_closed_streams()
    print_anything()
    try:
        code = _exit_code()
    except Exception:  # a bug: print the traceback, masked, since a detached run writes it to a file
        with contextlib.suppress(OSError):
            if COMPLETING in os.environ:  # printed into what the user is typing
                sys.exit(1)
            print(mask(traceback.format_exc(), secrets_of(os.environ)), file=sys.stderr)
        code = 1
    gc.freeze()  # else the interpreter looks for garbage among all objects before it ends, 0.25 s after a report
    sys.exit(code)


def _exit_code() -> int:
    try:
        complete_user()
        code = int(app(prog_name="echo-matrix", standalone_mode=False) or 0)
        sys.stdout.flush()  # so that a closed pipe is noticed here, not when the interpreter exits
        return code
    except OrchestratorError as error:
        _print_error(str(error))
        return error.exit_code
    except TyperException as error:
        return _usage_error(error)
    except typer.Abort:
        _print_error("aborted; nothing was changed")
        return 1
    except KeyboardInterrupt:
        _print_error(str(Interrupted()))
        return Interrupted.exit_code
    except OSError as error:
        known = None if error.errno == errno.EPIPE else disk_error(error)
        if known is None and error.errno not in READER_GONE:
            raise
        discard_output()
        if known is not None:
            _print_error(str(known))
        return 1


def _usage_error(error: TyperException) -> int:
    """Print why a command line is not valid, in one line; without a command, the help."""
    message = in_plain_words(str(getattr(error, "format_message", lambda: error)()))
    if message.startswith("Usage:"):
        print(message)
        return 2
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "echo-matrix"
    suggestion = SUGGESTION.search(message)
    first = (message[: suggestion.start()] if suggestion else message).rstrip(".")
    hint = f"; did you mean {(suggestion[1] or suggestion[2]).rstrip('?')}? See" if suggestion else "; see"
    _print_error(f"{first[:1].lower()}{first[1:]}{hint} `{where} --help`")
    return 2


def in_plain_words(text: str) -> str:
    """A text of typer's, as `PLAIN_WORDS` say it."""
    for pattern, words in PLAIN_WORDS:
        text = pattern.sub(words, text)
    return text


def _print_error(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"echo-matrix: {mask(text, secrets_of(os.environ))}", file=sys.stderr)


if __name__ == "__main__":
    main()
