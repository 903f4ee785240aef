from __future__ import annotations

import functools

from distpolicy.system import system_multiprocessing as multiprocessing


def test_the_main_function_is_called_with_its_arguments() -> None:
    assert multiprocessing.handle_main(functools.partial(max, 3), 5, extra_state_savers=[]) == 5
    assert multiprocessing.handle_main(sorted, [1, 2], reverse=True) == [2, 1]
    multiprocessing.enable_interactive_mode()
