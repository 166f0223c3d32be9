use crate::command::testing::Client;

#[test]
fn an_entry_has_the_ten_elements_of_redis() {
    let mut client = Client::new();
    let expected = "*1|*10|$3|get|:2|*2|+readonly|+fast|:1|:1|:1|*3|+@read|+@string|+@fast|*0|*1|*6|$5|flags|*2|+RO|+access|$12|begin_search|\
                    *4|$4|type|$5|index|$4|spec|*2|$5|index|:1|$9|find_keys|*4|$4|type|$5|range|$4|spec|*6|$7|lastkey|:0|$7|keystep|:1|\
                    $5|limit|:0|*0|";
    assert_eq!(client.run("COMMAND INFO GeT"), expected);
    assert_eq!(client.run("COMMAND INFO nope"), "*1|$-1|");
}

#[test]
fn keys_are_found_and_their_use_told() {
    let mut client = Client::new();
    assert_eq!(client.run("COMMAND GETKEYS mset a 1 b 2"), "*2|$1|a|$1|b|");
    assert_eq!(client.run("COMMAND GETKEYSANDFLAGS set a 1"), "*1|*2|$1|a|*2|+OW|+update|");
    assert_eq!(client.run("COMMAND GETKEYSANDFLAGS rename a b"), "*2|*2|$1|a|*3|+RW|+access|+delete|*2|$1|b|*2|+OW|+update|");
    assert_eq!(client.run("COMMAND GETKEYS time x"), "-ERR The command has no key arguments|");
    assert_eq!(client.run("COMMAND GETKEYS get a b"), "-ERR Invalid number of arguments specified for command|");
    assert_eq!(client.run("COMMAND GETKEYS nope a"), "-ERR Invalid command specified|");
}

#[test]
fn commands_are_listed_by_pattern_and_category() {
    let mut client = Client::new();
    assert_eq!(client.run("COMMAND LIST FILTERBY PATTERN config|r*"), "*2|$16|config|resetstat|$14|config|rewrite|");
    assert_eq!(client.run("COMMAND LIST FILTERBY MODULE none"), "*0|");
    assert_eq!(client.run("COMMAND LIST FILTERBY nope x"), "-ERR syntax error|");
    assert!(client.run("COMMAND LIST FILTERBY ACLCAT transaction").contains("|exec|"));
}

#[test]
fn containers_stand_once_in_the_table_and_have_subcommands() {
    let names: Vec<_> = super::top_level().map(|command| command.name).collect();
    for container in ["client", "config", "latency", "memory", "object", "pubsub", "slowlog", "command"] {
        assert_eq!(names.iter().filter(|name| **name == container).count(), 1, "{container}");
    }
    assert!(names.iter().all(|name| !name.contains('|')));
    let mut client = Client::new();
    assert_eq!(client.run("COMMAND COUNT"), format!(":{}|", names.len()));
    assert!(client.run("COMMAND DOCS config").contains("|subcommands|"));
}
