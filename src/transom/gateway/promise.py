"""The receipt that leaves with an answer, where one is asked for."""

from base64 import b64encode
from typing import Final

from transom.decisions.record import Outcome, Promised, Record
from transom.gateway.request import Request
from transom.gateway.running import Door

_HEADER: Final = b"transom-receipt"


def expect(door: Door, request: Request, record: Record) -> None:
    """Note that a receipt is wanted, before anything of the decision is recorded."""
    if door.receipts.always or request.header(_HEADER) == b"yes":
        record.promised = Promised()


def hand_over(door: Door, request: Request, record: Record, outcome: Outcome) -> None:
    """Put the receipt, where one is wanted, into the head of the answer. Only once the decision is durable."""
    if record.promised is None:
        return
    if outcome.answer is not None:
        door.decisions.commit_answer(record, outcome)
    receipt = door.receipts.of_record(record, outcome)
    request.also = [*request.also, (_HEADER, b64encode(receipt.text.encode()))]
