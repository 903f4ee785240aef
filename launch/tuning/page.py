"""page_text: a search as one HTML file: its charts, the best settings, and a table of the trials."""

from __future__ import annotations

import html
import shlex
from collections import Counter
from collections.abc import Mapping

from launch.config.search_space import SearchSpace
from launch.config.setting_names import setting_text
from launch.reports import tables
from launch.reports.html_page import HtmlPage, titled
from launch.reports.text import count, lasted
from launch.reports.theme import DARK, FONT, LIGHT
from launch.tuning.charts import charts, search_config, subtitle, title
from launch.tuning.results import SearchResult, score_text, table_of_samples


def page_text(result: SearchResult, space: SearchSpace, strengths: Mapping[str, float]) -> str:
    """Returns the page as HTML.

    Args:
        result: The search, which has a best sample.
        space: The searched settings.
        strengths: The importance of each setting; empty if it is not known.
    """
    themes = {name: search_config(theme, FONT, result) for name, theme in (("light", LIGHT), ("dark", DARK))}
    made = HtmlPage({"steps": result.train.step_unit}, themes)
    cards = "".join(map(made.card, charts(result, space, strengths)))
    head, *rows = table_of_samples(result)
    samples = tables.table(head, [[trial, _shown(score), *more] for trial, score, *more in rows], range(1, 3))
    parts = [
        _tiles(result),
        titled("Best settings", f"<div class=pair>{_best_settings(result)}{_training(result)}</div>"),
        titled("Scores", f"<div class=charts>{cards}</div>"),
        titled("Trials", f"<div class=card>{samples}</div>"),
    ]
    return made.text(result.train.env, f"{title(result)} · {subtitle(result)}", "\n".join(parts))


def _tiles(result: SearchResult) -> str:
    best = result.best
    assert best is not None
    first = next((sample for sample in result.samples if sample.sample == 0), best)
    reached = "failed" if first.has_failed else _shown(score_text(first.score))
    given = f"as given: {reached}" if first is not best else "the settings as given"
    states = Counter(record.outcome for record in result.records)
    steps, whole = result.config.trial_steps(result.train), result.train.total_steps
    found = [
        tables.tile(f"Best {result.config.metric}", _shown(best.score_with_interval), given),
        tables.tile(
            "Trials", str(len(result.records)), ", ".join(f"{number} {state}" for state, number in states.items())
        ),
        tables.tile(
            f"{result.train.step_unit.capitalize()} of a trial",
            count(steps),
            f"of a whole run: {whole:,}" if whole != steps else "",
        ),
        tables.tile("Training", lasted(result.train_s), "all trials together"),
    ]
    return f"<div class=tiles>{''.join(found)}</div>"


def _best_settings(result: SearchResult) -> str:
    assert result.best is not None
    given = {name: setting_text(value) for name, value in result.settings_as_given.items()}
    best = {name: setting_text(value) for name, value in result.best.settings.items()}
    if best == given:
        found = tables.table(("setting", "as given and best"), list(best.items()))
    else:
        found = tables.changes(("setting", "best", "as given"), [(name, best[name], given[name]) for name in best])
    return f"<div class=card>{found}</div>"


def _training(result: SearchResult) -> str:
    """Returns how to train with the best settings. A search that was killed has not written their file."""
    if result.best_file.is_file():
        what, command = "Train with them, by a seed that no trial had", result.train_command
    else:
        what, command = (
            "The search has not ended. After a kill it goes on with",
            f"distpolicy tune --resume {shlex.quote(str(result.folder))}",
        )
    return f"<div class=card><p class=note>{what}</p><pre>{html.escape(command)}</pre></div>"


def _shown(score: str) -> str:
    """Returns a score with the minus sign of other pages."""
    return score.replace("-", "−")
