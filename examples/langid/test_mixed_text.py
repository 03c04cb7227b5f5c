"""Name the language of each sentence in a mixed text: several rows for one test."""

from __future__ import annotations

import pytest
from py3langid.langid import LanguageIdentifier

from pytest_braintrust.scoring import BtScore

TEXTS = {
    "hotel-notice": [
        ("en", "Breakfast is served until ten o'clock."),
        ("de", "Frühstück gibt es bis zehn Uhr."),
        ("fr", "Le petit déjeuner est servi jusqu'à dix heures."),
        ("it", "La colazione si serve fino alle dieci."),
        ("es", "El desayuno se sirve hasta las diez."),
    ],
    "ferry-timetable": [
        ("no", "Båten går hver time, også på søndager."),
        ("da", "Båden sejler hver time, også om søndagen."),
        ("sv", "Båten går varje timme, även på söndagar."),
        ("fi", "Laiva lähtee joka tunti, myös sunnuntaisin."),
    ],
    "chat-of-friends": [
        ("en", "Are you coming tonight?"),
        ("es", "Claro, llevo la tortilla."),
        ("en", "Perfect, I'll bring the drinks."),
        ("es", "¡Nos vemos a las ocho!"),
    ],
    "asking-for-the-bill": [
        ("es", "La cuenta, por favor."),
        ("it", "Il conto, per favore."),
        ("fr", "L'addition, s'il vous plaît."),
        ("de", "Die Rechnung, bitte."),
        ("hu", "A számlát, kérem."),
        ("sl", "Račun, prosim."),
        ("et", "Arve, palun."),
    ],
    "price-of-apples": [
        ("ru", "Сколько стоят эти яблоки?"),
        ("uk", "Скільки коштують ці яблука?"),
        ("be", "Колькі каштуюць гэтыя яблыкі?"),
        ("bg", "Колко струват тези ябълки?"),
        ("mk", "Колку чинат овие јаболка?"),
        ("sr", "Колико коштају ове јабуке?"),
    ],
}


@pytest.mark.parametrize("name", TEXTS)
def test_each_sentence(
    name: str, identifier: LanguageIdentifier, bt_score: BtScore
) -> None:
    expected = {language for language, _ in TEXTS[name]}
    found = set()

    for number, (language, sentence) in enumerate(TEXTS[name], start=1):
        with bt_score.row(str(number), input=sentence, expected=language) as row:
            answer, confidence = identifier.classify(sentence)
            row(
                output=answer,
                scores={"exact": answer == language, "confidence": confidence},
                metrics={"characters": len(sentence)},
            )
            found.add(answer)

    # Said of the test itself, and so its own row beside those of the sentences.
    bt_score(
        output=sorted(found),
        expected=sorted(expected),
        scores={"languages_found": len(found & expected) / len(expected)},
        tags="mixed text",
    )
    assert found
