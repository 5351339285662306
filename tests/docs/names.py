"""Which names a block of a page looks up: told by Python's own symbol table, without running it.

This file owns the one question that running a page leaves open. All of its blocks share a namespace, so that a function
of the first may use what only the third imports, and no test of the page notices; whoever copies the first block alone
gets a NameError at the first request. It knows no page.
"""

from __future__ import annotations

import symtable
from collections.abc import Iterator


def used(code: str) -> set[str]:
    """The names that a block looks up in its module, by its functions and classes as well."""
    top = symtable.symtable(code, "block", "exec")
    return {
        each.get_name()
        for scope in _scopes(top)
        for each in scope.get_symbols()
        if each.is_referenced() and (scope is top or each.is_global())
    }


def _scopes(scope: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield scope
    for child in scope.get_children():
        yield from _scopes(child)
