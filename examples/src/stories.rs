use distily::core::Seed;
use rand::Rng;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

/// Small stories without end: people, places and things in a few plots, with dialogue.
///
/// A story agrees with itself over its whole length: who is who (and he or she), what was lost and
/// of which colour, where it was, and a last line that answers the first. That is what there is to
/// learn beyond the next word.
///
/// ```
/// use distily::core::Seed;
/// use distily_examples::Stories;
///
/// let first: Vec<String> = Stories::new(Seed(1)).take(2).collect();
/// assert_eq!(first, Stories::new(Seed(1)).take(2).collect::<Vec<_>>());
/// assert_ne!(first[0], first[1]);
/// ```
#[derive(Debug)]
pub struct Stories {
    generator: ChaCha8Rng,
}

impl Stories {
    /// The stories of a seed.
    pub fn new(seed: Seed) -> Self {
        Self {
            generator: seed.generator("stories", 0),
        }
    }

    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of.choose(&mut self.generator)
            .expect("lists of words are not empty")
    }

    fn person(&mut self) -> Person {
        if self.generator.next_u32().is_multiple_of(2) {
            Person {
                name: self.one(&[
                    "Anna", "Lily", "Mia", "Rosa", "Zoe", "Emma", "Nora", "Clara",
                ]),
                he: "she",
                his: "her",
                him: "her",
                child: "girl",
            }
        } else {
            Person {
                name: self.one(&["Tom", "Ben", "Max", "Leo", "Sam", "Paul", "Hugo", "Finn"]),
                he: "he",
                his: "his",
                him: "him",
                child: "boy",
            }
        }
    }

    fn other_than(&mut self, person: &Person) -> Person {
        loop {
            let other = self.person();
            if other.name != person.name {
                return other;
            }
        }
    }

    fn thing(&mut self) -> Thing {
        Thing {
            colour: self.one(&[
                "red", "blue", "green", "yellow", "white", "black", "golden", "silver",
            ]),
            noun: self.one(&[
                "ball", "kite", "hat", "boat", "book", "lamp", "drum", "scarf", "key", "cup",
                "bell", "coat",
            ]),
        }
    }

    fn other_thing(&mut self, thing: &Thing) -> Thing {
        loop {
            let other = self.thing();
            if other.noun != thing.noun && other.colour != thing.colour {
                return other;
            }
        }
    }

    fn place(&mut self) -> &'static str {
        self.one(&[
            "by the river",
            "in the garden",
            "under the old tree",
            "on the hill",
            "in the barn",
            "behind the house",
            "near the bridge",
            "at the market",
            "in the forest",
            "on the beach",
        ])
    }

    fn lost(&mut self) -> String {
        let hero = self.person();
        let friend = self.other_than(&hero);
        let (thing, place, wrong) = (self.thing(), self.place(), self.place());
        let mood = self.one(&["sad", "worried", "upset"]);
        let giver = self.one(&["grandmother", "father", "aunt", "teacher", "uncle"]);
        format!(
            "One day, a {child} named {name} could not find {his} {thing}. It was a present from {his} {giver}, and {name} was very {mood}. \
             {Friend} asked, \"Why are you {mood}, {name}?\" \
             \"I lost my {thing},\" said {name}. \"Will you help me?\" \
             \"Of course,\" said {Friend}. First they looked {wrong}, but the {noun} was not there. \
             Then {friend_he} had an idea. \"You played {place} this morning,\" {friend_he} said. \
             They went to look, and {place} lay the {thing}. \
             \"Thank you, {Friend},\" said {name}. {He} was not {mood} any more, and {he} told {his} {giver} how {Friend} had found the {thing} {place}.",
            child = hero.child,
            name = hero.name,
            his = hero.his,
            he = hero.he,
            He = capital(hero.he),
            thing = thing.text(),
            noun = thing.noun,
            Friend = friend.name,
            friend_he = friend.he,
        )
    }

    fn trade(&mut self) -> String {
        let hero = self.person();
        let friend = self.other_than(&hero);
        let thing = self.thing();
        let other = self.other_thing(&thing);
        let place = self.place();
        format!(
            "{name} had a {thing}, and {Friend} had a {other}. They met {place}. \
             \"I like your {other},\" said {name}. \"And I like your {noun},\" said {Friend}. \"Shall we trade?\" \
             So {name} gave {Friend} the {thing}, and {Friend} gave {name} the {other}. \
             That night {name} could not sleep. {He} missed {his} {noun}. \
             In the morning {he} ran to {Friend} and said, \"I am sorry. May I have my {noun} back?\" \
             {Friend} laughed. \"I missed my {other_noun} too,\" {friend_he} said. \
             So {Friend} took the {other} home, and {name} kept the {thing} for ever.",
            name = hero.name,
            he = hero.he,
            He = capital(hero.he),
            his = hero.his,
            thing = thing.text(),
            noun = thing.noun,
            other = other.text(),
            other_noun = other.noun,
            Friend = friend.name,
            friend_he = friend.he,
        )
    }

    fn animal(&mut self) -> String {
        let hero = self.person();
        let (animal, sound) = *[
            ("cat", "meow"),
            ("dog", "woof"),
            ("duck", "quack"),
            ("owl", "hoo"),
            ("sheep", "baa"),
            ("mouse", "squeak"),
        ]
        .choose(&mut self.generator)
        .expect("there are animals");
        let size = self.one(&["little", "small", "tiny", "young"]);
        let (place, thing) = (self.place(), self.thing());
        let food = self.one(&["bread", "cheese", "an apple", "some soup", "a carrot"]);
        format!(
            "A {size} {animal} was all alone {place}. \"{Sound}, {sound},\" it cried. \
             {name} heard it and came closer. \"Do not be afraid,\" {he} said. \"I have {food} for you.\" \
             The {animal} ate it all. Then it looked at {name}'s {thing} and said \"{sound}\" again. \
             \"You may sleep in my {noun},\" said {name}, and the {animal} did. \
             From that day on, the {size} {animal} followed {him} everywhere, and whenever somebody asked where {name} was, \
             they only had to listen for a {sound} {place}.",
            name = hero.name,
            he = hero.he,
            him = hero.him,
            thing = thing.text(),
            noun = thing.noun,
            Sound = capital(sound),
        )
    }

    fn promise(&mut self) -> String {
        let hero = self.person();
        let friend = self.other_than(&hero);
        let (thing, place) = (self.thing(), self.place());
        let day = self.one(&[
            "Monday",
            "Tuesday",
            "Wednesday",
            "Thursday",
            "Friday",
            "Saturday",
            "Sunday",
        ]);
        let weather = self.one(&[
            "It rained",
            "It snowed",
            "The wind was cold",
            "It was very hot",
        ]);
        format!(
            "\"On {day} I will bring you my {thing},\" {name} promised {Friend}. \"Let us meet {place}.\" \
             When {day} came, {weather_lower} all day. {name}'s mother said, \"Stay at home, {name}.\" \
             \"But I promised {Friend},\" said {name}, and {he} put on {his} coat. \
             {Friend} was waiting {place}. \"{weather}, and still you came,\" said {friend_he}. \
             \"A promise is a promise,\" said {name}, and gave {friend_him} the {thing}. \
             They were friends from that {day} on.",
            name = hero.name,
            he = hero.he,
            his = hero.his,
            thing = thing.text(),
            Friend = friend.name,
            friend_he = friend.he,
            friend_him = friend.him,
            weather_lower = weather.to_lowercase(),
        )
    }
}

struct Person {
    name: &'static str,
    he: &'static str,
    his: &'static str,
    him: &'static str,
    child: &'static str,
}

struct Thing {
    colour: &'static str,
    noun: &'static str,
}

impl Thing {
    fn text(&self) -> String {
        format!("{} {}", self.colour, self.noun)
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

impl Iterator for Stories {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        Some(match self.generator.next_u32() % 4 {
            0 => self.lost(),
            1 => self.trade(),
            2 => self.animal(),
            _ => self.promise(),
        })
    }
}
