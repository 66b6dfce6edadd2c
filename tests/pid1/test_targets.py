"""Rule 1 on pictures of processes: who is told, who is gone on to, and who is left to his parent."""

from __future__ import annotations

import pytest

from smentry.pid1 import targets
from smentry.pid1.linux import Process

TERM, INT, QUIT, USR1 = 15, 2, 3, 10
MAIN = 2


def bits(*signals: int) -> int:
    return sum(1 << (signal - 1) for signal in signals)


HANDLER = bits(TERM)
IGNORES = bits(INT, QUIT)


def process(pid: int, parent: int = 1, **more: object) -> Process:
    return Process(pid, parent=parent, started=pid, **more)  # type: ignore[arg-type]


def reached(*processes: Process, signal: int = TERM, **more: object) -> tuple[list[int], list[int], bool]:
    """The pids that asked, those that did not, and whether the picture was too small."""
    found = targets.reach({p.pid: p for p in processes}, MAIN, signal, **more)  # type: ignore[arg-type]
    return sorted(p.pid for p in found.asked), sorted(p.pid for p in found.silent), found.blind


def test_who_has_a_handler_is_told_and_its_children_are_left_to_it() -> None:
    assert reached(process(2, caught=HANDLER), process(3, 2, caught=HANDLER), process(4, 3)) == ([2], [], False)


def test_who_has_none_is_gone_past() -> None:
    picture = process(2), process(3, 2, ignored=HANDLER), process(4, 3, caught=HANDLER), process(5, 3)
    assert reached(*picture) == ([4], [2, 3, 5], False)


def test_what_is_not_below_the_main_process_is_not_reached() -> None:
    assert reached(process(2), process(3, 1, caught=HANDLER)) == ([], [2], False)


def test_the_signal_decides() -> None:
    assert reached(process(2, caught=HANDLER), process(3, 2, caught=bits(USR1)), signal=USR1) == ([3], [2], False)


def test_there_may_be_no_main_process_any_more() -> None:
    assert reached(process(3, 1, caught=HANDLER)) == ([], [], False)


def test_to_block_a_signal_is_to_wait_for_it() -> None:
    assert reached(process(2), process(3, 2, blocked=HANDLER)) == ([3], [2], False)


def test_but_not_for_one_that_was_born_so() -> None:
    picture = process(2, blocked=HANDLER), process(3, 2, blocked=bits(TERM, INT))
    assert reached(*picture, inherited=HANDLER) == ([], [2, 3], False)
    assert reached(*picture, signal=INT, inherited=HANDLER) == ([3], [2], False)


def test_mpirun_has_not_asked_and_its_ranks_may() -> None:
    picture = process(2, launcher=True, caught=-1), process(3, 2, caught=HANDLER), process(4, 2)
    assert reached(*picture) == ([3], [2, 4], False)
    assert reached(picture[0], complete=False)[2]


def test_the_daemon_that_starts_ranks_for_another_host_is_nobodys_child_and_looked_at_all_the_same() -> None:
    daemon = process(5, launcher=True, caught=-1), process(6, 5, caught=HANDLER), process(7, 6, caught=HANDLER)
    assert reached(process(2), *daemon) == ([6], [2, 5], False)
    assert reached(process(2), process(4, 2), process(5, 4, launcher=True), process(6, 5)) == ([], [2, 4, 5, 6], False)


def test_all_but_ranks_wait_for_them_where_there_is_a_launcher() -> None:
    picture = [process(2), process(3, 2, launcher=True), process(4, 3), process(5, 4), process(6, 2), process(7, 1)]
    assert targets.waiting_for_ranks({p.pid: p for p in picture}, ()) == {2, 3, 6, 7}
    everybody = [p.identity for p in picture]
    assert targets.waiting_for_ranks({p.pid: p for p in picture if not p.launcher}, everybody) == set()


def test_a_torchrun_without_ranks_is_waited_for_only_where_it_had_some() -> None:
    torchrun = process(3, 2, launcher=True, init=True)
    alone = {p.pid: p for p in (process(2), torchrun)}
    assert targets.waiting_for_ranks(alone, [torchrun.identity]) == {2, 3}
    assert targets.waiting_for_ranks(alone, [(2, 2)]) == set()
    assert targets.waiting_for_ranks({**alone, 4: process(4, 3)}, ()) == {2, 3}


@pytest.mark.parametrize("how", ["caught", "blocked"])
def test_an_init_has_not_asked_on_anybodys_behalf(how: str) -> None:
    assert reached(process(2, init=True, **{how: -1}), process(3, 2, caught=HANDLER)) == ([3], [2], False)


def test_a_shell_blocks_signals_only_while_it_forks() -> None:
    assert reached(process(2, shell=True, blocked=HANDLER), process(3, 2, caught=HANDLER)) == ([3], [2], False)


def test_a_shell_with_a_trap_and_a_program_in_the_foreground_are_both_told() -> None:
    assert reached(process(2, shell=True, caught=HANDLER), process(3, 2, caught=HANDLER)) == ([2, 3], [], False)


def test_a_shell_with_a_trap_that_waits_for_the_background_hands_it_on_itself() -> None:
    shell = process(2, shell=True, caught=HANDLER)
    assert reached(shell, process(3, 2, caught=HANDLER, ignored=IGNORES)) == ([2], [], False)
    assert reached(shell) == ([2], [], False)


def test_a_shell_with_a_trap_is_left_what_it_started_in_the_background_only() -> None:
    shell = process(2, shell=True, caught=HANDLER)
    picture = process(3, 2, caught=HANDLER, ignored=IGNORES), process(4, 2, caught=HANDLER)
    assert reached(shell, *picture)[0] == [2, 4]


@pytest.mark.parametrize("background", [True, False])
def test_a_handler_of_its_own_for_quit_hides_what_a_program_was_born_with(background: bool) -> None:
    """torchrun and Java have one. Then stdin tells."""
    shell = process(2, shell=True, caught=HANDLER)
    child = process(3, 2, caught=bits(TERM, INT, QUIT), background=background)
    assert reached(shell, child)[0] == ([2] if background else [2, 3])


@pytest.mark.parametrize("background", [True, False])
def test_so_does_a_shell_that_was_born_with_int_ignored(background: bool) -> None:
    shell = process(2, shell=True, caught=HANDLER, ignored=bits(INT))
    child = process(3, 2, caught=HANDLER, ignored=IGNORES, background=background)
    assert reached(shell, child)[0] == ([2] if background else [2, 3])


@pytest.mark.parametrize(("caught", "asked"), [(bits(INT), [3]), (bits(INT, TERM), [2, 3])])
def test_a_shell_catches_int_in_every_script(caught: int, asked: list[int]) -> None:
    shell = process(2, shell=True, caught=caught)
    assert reached(shell, process(3, 2, caught=bits(INT)), signal=INT)[0] == asked


def test_the_main_process_alone_is_enough_when_it_asked() -> None:
    assert reached(process(2, caught=HANDLER), complete=False) == ([2], [], False)


@pytest.mark.parametrize("main", [process(2), process(2, shell=True, caught=HANDLER), process(2, init=True, caught=-1)])
def test_but_not_when_its_children_matter(main: Process) -> None:
    assert reached(main, complete=False)[2]


def test_who_was_told_keeps_its_children_even_without_its_handlers() -> None:
    """An interpreter that ends gives them up."""
    picture = process(2), process(3, 2, caught=HANDLER)
    assert reached(*picture, asked={(2, 2)}) == ([2], [], False)
    assert reached(*picture, asked={(2, 7)}) == ([3], [2], False)


def test_who_asked_keeps_its_children_when_its_handler_ignores_the_signal_from_then_on() -> None:
    picture = process(2, ignored=HANDLER), process(3, 2, caught=HANDLER)
    assert reached(*picture, asked={(2, 2)}) == ([2], [], False)


def test_a_picture_with_a_circle_ends() -> None:
    """/proc is not read in one moment, and pids are used again."""
    assert reached(process(2, 3), process(3, 2)) == ([], [2, 3], False)
