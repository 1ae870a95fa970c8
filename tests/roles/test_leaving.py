"""What was published is noted when it has left, all of it."""

import asyncio

from tranship.flows.leaving import Leaving


def test_everything_is_noted_once_in_order_and_only_then_all_is() -> None:
    async def main() -> None:
        leaving: Leaving[int] = Leaving()
        noted: list[int] = []

        async def note(left: list[int]) -> None:
            if not noted:
                leaving.put([3])  # published while others are noted
            noted.extend(left)

        leaving.put([1])
        work = asyncio.create_task(leaving.run(note))
        leaving.put([2])
        assert not noted
        await asyncio.wait_for(leaving.noted(), 30)
        assert noted == [1, 2, 3]
        work.cancel()
        await asyncio.wait([work])

    asyncio.run(main())


def test_what_an_earlier_life_published_is_no_concern_of_the_next() -> None:
    async def main() -> None:
        leaving: Leaving[int] = Leaving()
        leaving.put([1])
        leaving.forget()
        await asyncio.wait_for(leaving.noted(), 30)
        leaving.put([2])
        noted: list[int] = []

        async def note(left: list[int]) -> None:
            noted.extend(left)

        work = asyncio.create_task(leaving.run(note))
        await asyncio.wait_for(leaving.noted(), 30)
        assert noted == [2]
        work.cancel()
        await asyncio.wait([work])

    asyncio.run(main())
