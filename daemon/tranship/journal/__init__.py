"""What we owe and what we did, on disk: one SQLite file per process, which survives `kill -9` at any moment."""

from tranship.journal.client import SCHEMA as CLIENT_SCHEMA
from tranship.journal.client import ClientBook
from tranship.journal.deletions import Deletion, DeletionBook
from tranship.journal.engine import Journal, JournalError, held
from tranship.journal.jobs import Before, Cursor, Delivered, Job, NewJob, Retry, Source, Verdict
from tranship.journal.mirror import SCHEMA as MIRROR_SCHEMA
from tranship.journal.mirror import Heard, MirrorBook, Offered
from tranship.journal.numbered import Numbered, NumberedBook, Page
from tranship.journal.orders import OrderBook, Ordered
from tranship.journal.past import Ended, Lain, PastAnnouncements, PastJobs
from tranship.journal.places import PlaceBook
from tranship.journal.resends import Resend, ResendBook, Retold
from tranship.journal.server import SCHEMA as SERVER_SCHEMA
from tranship.journal.server import Announced, ServerBook, Taken, Told
from tranship.journal.telling import Number, Untold
from tranship.journal.transfers import Transfer

__all__ = [
    "CLIENT_SCHEMA",
    "MIRROR_SCHEMA",
    "SERVER_SCHEMA",
    "Announced",
    "Before",
    "ClientBook",
    "Cursor",
    "Deletion",
    "DeletionBook",
    "Delivered",
    "Ended",
    "Heard",
    "Job",
    "Journal",
    "JournalError",
    "Lain",
    "MirrorBook",
    "NewJob",
    "Number",
    "Numbered",
    "NumberedBook",
    "Offered",
    "OrderBook",
    "Ordered",
    "Page",
    "PastAnnouncements",
    "PastJobs",
    "PlaceBook",
    "Resend",
    "ResendBook",
    "Retold",
    "Retry",
    "ServerBook",
    "Source",
    "Taken",
    "Told",
    "Transfer",
    "Untold",
    "Verdict",
    "held",
]
