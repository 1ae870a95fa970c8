"""How bytes get there: one mover per protocol, and one safe way to use them all.

from tranship_movers import move
move("H-000-MSG4.dat", "sftp://archive/in/")
"""

from tranship_movers.shortcuts import copy, move
from tranship_movers.transfer import Receipt

__all__ = ["Receipt", "copy", "move"]
