"""The evaluation set without a model: every answer is that of plain SQL as the same user."""

from __future__ import annotations

import pytest

from tests.evaluation.comparing import Question, comparable, differ, questions
from tests.unit.agent_lake import LakeEngine
from tests.unit.agent_world import Outcome, ask


async def asked(question: Question, user: str) -> Outcome:
    history = []
    for earlier in question.after:
        history.append((await ask(earlier, user)).history())
    return await ask(question.question, user, answers=question.answers, history=history)


def test_the_set_is_large_and_knows_several_users() -> None:
    found = questions()
    assert len(found) >= 60
    assert len({user for question in found for user in question.users}) >= 6
    assert sum(bool(question.denied) for question in found) >= 6
    assert sum(bool(question.declines) for question in found) >= 6


@pytest.mark.parametrize("question", questions(), ids=lambda one: one.question)
async def test_answers_are_those_of_plain_sql_as_the_same_user(question: Question) -> None:
    rows = {}
    for user in question.users:
        outcome = await asked(question, user)
        if question.declines:
            assert outcome.answer["sql"] == ""
            said = " ".join([outcome.answer["text"], *outcome.answer["hints"]])
            assert question.declines in said
            continue
        reference = await LakeEngine(user).run(question.sql)
        assert outcome.answer["sql"], outcome.answer["text"]
        rows[user] = comparable(outcome.rows, ordered=question.ordered)
        assert rows[user] == comparable(reference.rows, ordered=question.ordered), (
            user,
            outcome.answer["sql"],
        )
        assert not outcome.answer["truncated"]
    for user in question.denied:
        outcome = await asked(question, user)
        assert outcome.answer["sql"] == ""
        assert "you may see nothing" in outcome.answer["text"]
        assert outcome.engine.ran == []
    if rows and not question.same:
        assert differ(rows), rows
