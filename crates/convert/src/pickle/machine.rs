//! The stack machine. Opcodes: Python's `Lib/pickletools.py`.

use std::{
    collections::{BTreeSet, HashMap},
    str::FromStr,
};

use super::{Global, Id, MAX_VALUES, Object, Pickle, PickleError, Value, globals};

/// Frequent values, at fixed positions in the arena.
const NONE: Id = Id(0);
const TRUE: Id = Id(1);
const FALSE: Id = Id(2);
const EMPTY_TUPLE: Id = Id(3);

/// The pickle with which `bytes` begin, and its length.
pub(super) fn run(bytes: &[u8]) -> Result<(Pickle, usize), PickleError> {
    let mut machine = Machine {
        bytes,
        values: vec![
            Value::None,
            Value::Bool(true),
            Value::Bool(false),
            Value::Tuple([].into()),
        ],
        ..Machine::default()
    };
    loop {
        if let Some(root) = machine.step()? {
            let pickle = Pickle {
                values: machine.values,
                root,
                globals: machine.globals,
            };
            return Ok((pickle, machine.at));
        }
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    /// The next byte to read.
    at: usize,
    /// Position and opcode of the current instruction.
    begin: usize,
    opcode: u8,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Height of the stack at each MARK.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    globals: BTreeSet<Global>,
}

impl<'a> Machine<'a> {
    /// Runs one instruction. `Some` is the result of the whole pickle.
    fn step(&mut self) -> Result<Option<Id>, PickleError> {
        self.begin = self.at;
        self.opcode = self.u8()?;
        match self.opcode {
            // Framing and the stack itself.
            0x80 => {
                let found = self.u8()?;
                if found > 5 {
                    return Err(PickleError::Protocol(found));
                }
            }
            0x95 => drop(self.take(8)?),
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                // POP removes a MARK if it is on top.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.pop_mark()?),
            b'2' => self.stack.push(self.top()?),

            // Values at fixed positions.
            b'N' => self.stack.push(NONE),
            0x88 => self.stack.push(TRUE),
            0x89 => self.stack.push(FALSE),
            b')' => self.stack.push(EMPTY_TUPLE),
            b'I' => match self.line()? {
                "01" => self.stack.push(TRUE),
                "00" => self.stack.push(FALSE),
                text => self.push(Value::Int(self.parse(text.trim(), "an integer")?))?,
            },

            // Changes of containers and objects.
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.pop_n(2)?;
                self.set_entries(items)?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_entries(items)?;
            }
            0x90 => {
                let items = self.pop_mark()?;
                match self.top_value()? {
                    Value::Set(found) => found.extend(items),
                    Value::Object(object) => object.items.extend(items),
                    _ => return Err(self.stack("a set")),
                }
            }
            b'b' => {
                let state = self.pop()?;
                match self.top_value()? {
                    Value::Object(object) => object.state = Some(state),
                    _ => return Err(self.stack("an object to put a state into")),
                }
            }

            // The memo.
            b'q' | b'r' | b'p' | 0x94 => {
                let index = self.index()?;
                let top = self.top()?;
                self.memo.insert(index, top);
            }
            b'h' | b'j' | b'g' => {
                let index = self.index()?;
                let id = self.memo.get(&index).copied();
                let id = id.ok_or(PickleError::Memo(self.begin, index))?;
                self.stack.push(id);
            }

            _ => {
                let value = self.make()?;
                self.push(value)?;
            }
        }
        Ok(None)
    }

    /// Creates the value of an instruction from its operands and from the stack.
    fn make(&mut self) -> Result<Value, PickleError> {
        Ok(match self.opcode {
            // Numbers.
            b'K' => Value::Int(self.number(1)? as i64),
            b'M' => Value::Int(self.number(2)? as i64),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            0x8a => integer(self.counted(1)?),
            0x8b => integer(self.counted(4)?),
            b'L' => {
                let text = self.line()?;
                Value::Int(self.parse(text.strip_suffix('L').unwrap_or(text), "an integer")?)
            }
            b'F' => {
                let text = self.line()?.trim();
                Value::Float(self.parse(text, "a number")?)
            }

            // Text and bytes.
            b'X' => text(self.counted(4)?),
            0x8c => text(self.counted(1)?),
            0x8d => text(self.counted(8)?),
            b'V' => Value::Str(self.line()?.into()),
            b'S' => {
                let line = self.line()?;
                let quotes = ['\'', '"'].into_iter();
                let mut inside = quotes.filter_map(|q| line.strip_prefix(q)?.strip_suffix(q));
                let text = inside.next().ok_or_else(|| self.text("a quoted string"))?;
                Value::Str(text.into())
            }
            b'T' => python2_string(self.counted(4)?),
            b'U' => python2_string(self.counted(1)?),
            b'B' => Value::Bytes(self.counted(4)?.into()),
            b'C' => Value::Bytes(self.counted(1)?.into()),
            0x8e | 0x96 => Value::Bytes(self.counted(8)?.into()),

            // Containers.
            b't' => Value::Tuple(self.pop_mark()?.into()),
            0x85..=0x87 => Value::Tuple(self.pop_n(usize::from(self.opcode - 0x84))?.into()),
            b']' => Value::List(Vec::new()),
            b'l' => Value::List(self.pop_mark()?),
            b'}' => Value::Dict(Vec::new()),
            b'd' => {
                let items = self.pop_mark()?;
                Value::Dict(self.pairs(items)?)
            }
            0x8f => Value::Set(Vec::new()),
            0x91 => Value::Set(self.pop_mark()?),

            // Names and calls, which are recorded and never made.
            b'c' => self.global_of_lines()?,
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.value(module), self.value(name)) {
                    (Value::Str(module), Value::Str(name)) => {
                        let (module, name) = (module.to_string(), name.to_string());
                        self.global(Global { module, name })
                    }
                    _ => return Err(self.stack("a module and a name")),
                }
            }
            b'R' | 0x81 => {
                let (args, class) = (self.pop()?, self.pop()?);
                self.call(class, args)?
            }
            0x92 => {
                let (keywords, args, class) = (self.pop()?, self.pop()?, self.pop()?);
                let args = self.insert(Value::Tuple([args, keywords].into()))?;
                self.call(class, args)?
            }
            b'i' => {
                let class = self.global_of_lines()?;
                let args = self.pop_mark()?;
                let class = self.insert(class)?;
                let args = self.insert(Value::Tuple(args.into()))?;
                self.call(class, args)?
            }
            b'o' => {
                let mut args = self.pop_mark()?.into_iter();
                let class = args.next().ok_or_else(|| self.stack("a class"))?;
                let args = self.insert(Value::Tuple(args.collect()))?;
                self.call(class, args)?
            }
            b'Q' => Value::Persistent(self.pop()?),
            b'P' => {
                let text = self.line()?.into();
                Value::Persistent(self.insert(Value::Str(text))?)
            }

            // Includes EXT1, EXT2, EXT4 (a registry that torch does not use) and out-of-band buffers.
            opcode => return Err(PickleError::Opcode(opcode, self.begin)),
        })
    }

    // Reading.

    fn take(&mut self, len: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.checked_add(len);
        let bytes = end.and_then(|end| self.bytes.get(self.at..end));
        let bytes = bytes.ok_or(PickleError::Truncated(self.begin))?;
        self.at += len;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let bytes = self.take(N)?.first_chunk().copied();
        bytes.ok_or(PickleError::Truncated(self.begin))
    }

    fn u8(&mut self) -> Result<u8, PickleError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// An unsigned little-endian number of `width` bytes, at most eight.
    fn number(&mut self, width: usize) -> Result<u64, PickleError> {
        let bytes = self.take(width)?.iter().rev();
        Ok(bytes.fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// A length of `width` bytes, and as many bytes.
    fn counted(&mut self, width: usize) -> Result<&'a [u8], PickleError> {
        let len = self.number(width)?;
        // A length that exceeds the address space exceeds the file.
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// Text up to the next line feed.
    fn line(&mut self) -> Result<&'a str, PickleError> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&byte| byte == b'\n');
        let len = len.ok_or(PickleError::Truncated(self.begin))?;
        let line = self.take(len)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| self.text("text"))
    }

    fn parse<T: FromStr>(&self, text: &str, expected: &'static str) -> Result<T, PickleError> {
        text.parse().map_err(|_| self.text(expected))
    }

    /// Index in the memo: the operand of the current instruction.
    fn index(&mut self) -> Result<u64, PickleError> {
        match self.opcode {
            b'q' | b'h' => self.number(1),
            b'r' | b'j' => self.number(4),
            0x94 => Ok(self.memo.len() as u64),
            _ => {
                let line = self.line()?;
                self.parse(line.trim(), "an index")
            }
        }
    }

    // The arena and the stack.

    fn insert(&mut self, value: Value) -> Result<Id, PickleError> {
        if self.values.len() >= MAX_VALUES {
            return Err(PickleError::TooManyValues);
        }
        self.values.push(value);
        Ok(Id(self.values.len() as u32 - 1))
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        let id = self.insert(value)?;
        self.stack.push(id);
        Ok(())
    }

    fn value(&self, id: Id) -> &Value {
        &self.values[id.0 as usize]
    }

    /// Height of the stack at the last MARK: instructions may not remove values below it.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, PickleError> {
        match self.stack.last() {
            Some(&top) if self.stack.len() > self.floor() => Ok(top),
            _ => Err(self.stack("a value")),
        }
    }

    fn top_value(&mut self) -> Result<&mut Value, PickleError> {
        let top = self.top()?;
        Ok(&mut self.values[top.0 as usize])
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_n(&mut self, count: usize) -> Result<Vec<Id>, PickleError> {
        match self.stack.len().checked_sub(count) {
            Some(height) if height >= self.floor() => Ok(self.stack.split_off(height)),
            _ => Err(self.stack("more values")),
        }
    }

    /// Removes the last MARK and all values above it.
    fn pop_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let height = self.marks.pop().ok_or_else(|| self.stack("a mark"))?;
        Ok(self.stack.split_off(height))
    }

    fn pairs(&self, items: Vec<Id>) -> Result<Vec<(Id, Id)>, PickleError> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.stack("keys with values"));
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        match self.top_value()? {
            Value::List(found) => found.extend(items),
            Value::Object(object) => object.items.extend(items),
            _ => return Err(self.stack("a list")),
        }
        Ok(())
    }

    fn set_entries(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        let pairs = self.pairs(items)?;
        match self.top_value()? {
            Value::Dict(entries) => entries.extend(pairs),
            Value::Object(object) => object.entries.extend(pairs),
            _ => return Err(self.stack("a dictionary")),
        }
        Ok(())
    }

    // Names and calls.

    fn global(&mut self, global: Global) -> Value {
        self.globals.insert(global.clone());
        Value::Global(Box::new(global))
    }

    /// A global of two lines: module and name.
    fn global_of_lines(&mut self) -> Result<Value, PickleError> {
        let (module, name) = (self.line()?.to_owned(), self.line()?.to_owned());
        Ok(self.global(Global { module, name }))
    }

    /// Records a call. Refuses a hostile one.
    fn call(&self, class: Id, args: Id) -> Result<Value, PickleError> {
        match self.value(class) {
            Value::Global(global) => {
                if globals::is_hostile(global) && !self.is_enum_member(global, args) {
                    return Err(PickleError::Hostile {
                        global: global.to_string(),
                        offset: self.begin,
                    });
                }
            }
            Value::Object(_) | Value::Persistent(_) => {}
            _ => return Err(self.stack("something to call")),
        }
        Ok(Value::Object(Box::new(Object {
            class,
            args,
            state: None,
            entries: Vec::new(),
            items: Vec::new(),
        })))
    }

    /// Whether a call is a member of an enumeration: Python 3.11.0 to 3.11.3 wrote `getattr(Problem, "NAME")`. It is
    /// harmless for known classes of pyannote and names without a leading underscore.
    fn is_enum_member(&self, global: &Global, args: Id) -> bool {
        if global.name == "getattr"
            && let Value::Tuple(args) = self.value(args)
            && let [class, name] = **args
            && let (Value::Global(class), Value::Str(name)) = (self.value(class), self.value(name))
        {
            let package = globals::package(&class.module);
            return package == "pyannote" && globals::is_known(class) && !name.starts_with('_');
        }
        false
    }

    // Errors.

    fn stack(&self, needs: &'static str) -> PickleError {
        PickleError::Stack {
            opcode: self.opcode,
            offset: self.begin,
            needs,
        }
    }

    fn text(&self, expected: &'static str) -> PickleError {
        PickleError::Text(self.begin, expected)
    }
}

/// An integer in little-endian two's complement.
fn integer(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Long(bytes.into());
    }
    let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}

/// Text. Lone surrogates, which Python writes, are not valid UTF-8 and are replaced.
fn text(bytes: &[u8]) -> Value {
    Value::Str(String::from_utf8_lossy(bytes).into())
}

/// A string of Python 2: text if it is valid UTF-8.
fn python2_string(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Str(text.into()),
        Err(_) => Value::Bytes(bytes.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The integers of a list, tuple or set.
    fn ints(pickle: &Pickle) -> Vec<i64> {
        let items = match pickle.value(pickle.root()) {
            Value::Set(items) => items,
            _ => pickle.sequence(pickle.root()).unwrap(),
        };
        items.iter().map(|&id| pickle.int(id).unwrap()).collect()
    }

    /// Python 3.11 wrote the first two, and reads all of them so.
    #[test]
    fn instructions_do_what_python_does() {
        let cases: [(&[u8], &[i64]); 4] = [
            // pickle.dumps({1, 2}, 4), in a frame
            (
                b"\x80\x04\x95\t\0\0\0\0\0\0\0\x8f\x94(K\x01K\x02\x90.",
                &[1, 2],
            ),
            // pickle.dumps([-1, 255, -129, 2**31, -2**31 - 1, 2**63 - 1], 5), without its frame
            (
                b"\x80\x05]\x94(J\xff\xff\xff\xffK\xffJ\x7f\xff\xff\xff\x8a\x05\0\0\0\x80\0\
                  \x8a\x05\xff\xff\xff\x7f\xff\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fe.",
                &[-1, 255, -129, 1 << 31, -(1 << 31) - 1, i64::MAX],
            ),
            // POP removes a mark from the top, and else a value.
            (b"](0(K\x01K\x020e.", &[1]),
            // Whatever has a method `add` is filled like a set.
            (b"cbags\nBag\n)R(K\x01K\x02\x90.", &[1, 2]),
        ];
        for (bytes, expected) in cases {
            let (pickle, len) = run(&[bytes, b"behind"].concat()).unwrap();
            assert_eq!(len, bytes.len());
            assert_eq!(ints(&pickle), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_protocol_that_python_has_not_is_refused() {
        assert!(run(b"\x80\x05N.").is_ok());
        assert_eq!(run(b"\x80\x06N.").unwrap_err(), PickleError::Protocol(6));
    }
}
