"""What somebody probably meant who wrote a line that the grammar does not take."""

from __future__ import annotations

from collections.abc import Callable

from notrack.site.faults import Faults
from notrack.site.grammar import Grammar
from notrack.site.lexer import end_of
from notrack.site.mistakes import lists, names, ports, words
from notrack.site.mistakes.wrong import Answer, Wrong
from notrack.site.syntax import Atom

# Asked one after the other; the first that knows an answer has it.
_QUESTIONS: tuple[Callable[[Wrong], Answer | None], ...] = (
    names.bad_name,
    lists.equals,
    lists.after_sign,
    lists.stray_sign,
    ports.icmp_type,
    ports.no_protocol,
    ports.no_port,
    ports.several_protocols,
    ports.word_port,
    words.limit,
    words.interface,
    words.address,
    words.nothing_behind,
    lists.unknown_word,
    lists.no_comma,
    lists.no_word,
    words.setting,
    words.expectation,
)


def explain(atoms: list[Atom], at: int, expected: set[str], language: Grammar, faults: Faults) -> None:
    """Report the one fault of a declaration that could not be parsed.

    `at` is the token that did not fit (the count of tokens: the end), `expected` what could have stood there.
    """
    wrong = Wrong(atoms, at, expected, language)
    atom = wrong.atom
    if at == 0 and atom is not None:
        faults.error(atom.span, *names.bad_keyword(atom, atoms))
    elif atom is not None and atom.type == "JUNK":
        faults.error(*names.junk_or_name(wrong, atom))
    elif (slip := words.misspelt_tracking(wrong)) is not None:
        faults.error(atoms[1].span, *slip)
    else:
        answers = (ask(wrong) for ask in _QUESTIONS)
        answer = next((found for found in answers if found is not None), None)
        span = atom.span if atom is not None else end_of(atoms[-1])
        faults.error(span, *(answer or (f"unexpected {wrong.said}", wrong.form)))
