"""What roles are put together from: each flow wires a few steps, and owns what these share.

Reception   detect -> settle -> an outlet (announce)
Named       hear -> settle -> announce what messages name
Requests    request -> move + verify -> answer, and the other questions that a server is asked
Hearing     hear -> what is news; what was missed is asked for again (replay)
Missed      what servers of the old kind announced unheard: asked for by `info`
Asking      ask for what is owed, new files first; take in the answers
Windows     how much each server is asked for at once
Inquiries   what servers are asked and told beside transfers
Pausing     places that fail: what is owed there waits, is probed, goes on
Obeying     what operators order by other processes
Arrival     verify -> acknowledge -> publish
Bringing    request -> verify: a mirror's own copies, brought when they are asked for
Process     the frame of every process with a journal: chains, orders, retention, reload, drain
serving     such a process that announces and is asked
moving      such a process whose chains move files themselves
Resending   announcements that an operator wants told once more
Courier     move what is owed, each destination in a lane of its own (for roles without requests)
Emptying    unpack -> move: what is in packed files is moved, each destination's for itself
Outcomes    what becomes of jobs: delivered -> publish -> published; failed attempts
"""
