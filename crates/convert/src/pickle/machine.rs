//! The stack machine. Opcode numbers and meanings: Python's `Lib/pickletools.py`.

use std::collections::{BTreeSet, HashMap};

use super::{
    Global, Id, MAX_PICKLE_BYTES, MAX_VALUES, Object, Pickle, PickleError, Value, globals,
};

/// Values every pickle needs many times, at fixed places in the arena.
const NONE: Id = Id(0);
const TRUE: Id = Id(1);
const FALSE: Id = Id(2);
const EMPTY_TUPLE: Id = Id(3);

pub(super) fn run(bytes: &[u8]) -> Result<Pickle, PickleError> {
    if bytes.len() > MAX_PICKLE_BYTES {
        return Err(PickleError::TooLarge {
            found: bytes.len(),
            limit: MAX_PICKLE_BYTES,
        });
    }
    let mut machine = Machine {
        bytes,
        at: 0,
        begin: 0,
        opcode: 0,
        values: vec![
            Value::None,
            Value::Bool(true),
            Value::Bool(false),
            Value::Tuple([].into()),
        ],
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        globals: BTreeSet::new(),
    };
    loop {
        if let Some(root) = machine.step()? {
            return Ok(Pickle {
                values: machine.values,
                root,
                globals: machine.globals,
            });
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    /// The next byte to read.
    at: usize,
    /// Where the instruction being run begins, and its opcode: for errors.
    begin: usize,
    opcode: u8,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at each MARK.
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
                    return Err(PickleError::Protocol { found });
                }
            }
            0x95 => drop(self.take(8)?),
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                // POP takes a MARK if that is what is on top.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }

            // Numbers.
            b'N' => self.stack.push(NONE),
            0x88 => self.stack.push(TRUE),
            0x89 => self.stack.push(FALSE),
            b'K' => {
                let value = self.u8()?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(value.into()))?;
            }
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(value))?;
            }
            0x8a => {
                let len = self.u8()?;
                self.long(len.into())?;
            }
            0x8b => {
                let len = self.len_u32()?;
                self.long(len)?;
            }
            b'I' => match self.line()? {
                "01" => self.stack.push(TRUE),
                "00" => self.stack.push(FALSE),
                text => {
                    let value = text.trim().parse().map_err(|_| self.text("an integer"))?;
                    self.push(Value::Int(value))?;
                }
            },
            b'L' => {
                let text = self.line()?;
                let digits = text.strip_suffix('L').unwrap_or(text);
                let value = digits.parse().map_err(|_| self.text("an integer"))?;
                self.push(Value::Int(value))?;
            }
            b'F' => {
                let value = self
                    .line()?
                    .trim()
                    .parse()
                    .map_err(|_| self.text("a number"))?;
                self.push(Value::Float(value))?;
            }

            // Text and bytes.
            b'X' => {
                let len = self.len_u32()?;
                self.str(len)?;
            }
            0x8c => {
                let len = self.u8()?;
                self.str(len.into())?;
            }
            0x8d => {
                let len = self.len_u64()?;
                self.str(len)?;
            }
            b'V' => {
                let text = self.line()?.into();
                self.push(Value::Str(text))?;
            }
            b'S' => {
                let line = self.line()?;
                let text = line
                    .strip_prefix('\'')
                    .and_then(|rest| rest.strip_suffix('\''))
                    .or_else(|| {
                        line.strip_prefix('"')
                            .and_then(|rest| rest.strip_suffix('"'))
                    })
                    .ok_or_else(|| self.text("a quoted string"))?;
                self.push(Value::Str(text.into()))?;
            }
            // A Python 2 string: text where it is text.
            b'T' => {
                let len = self.len_u32()?;
                self.python2_string(len)?;
            }
            b'U' => {
                let len = self.u8()?;
                self.python2_string(len.into())?;
            }
            b'B' => {
                let len = self.len_u32()?;
                self.byte_string(len)?;
            }
            b'C' => {
                let len = self.u8()?;
                self.byte_string(len.into())?;
            }
            0x8e | 0x96 => {
                let len = self.len_u64()?;
                self.byte_string(len)?;
            }

            // Containers.
            b')' => self.stack.push(EMPTY_TUPLE),
            b't' => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items.into()))?;
            }
            0x85..=0x87 => {
                let items = self.pop_n(usize::from(self.opcode - 0x84))?;
                self.push(Value::Tuple(items.into()))?;
            }
            b']' => self.push(Value::List(Vec::new()))?,
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'd' => {
                let items = self.pop_mark()?;
                let entries = self.pairs(items)?;
                self.push(Value::Dict(entries))?;
            }
            b's' => {
                let items = self.pop_n(2)?;
                self.set_entries(items)?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_entries(items)?;
            }
            0x8f => self.push(Value::Set(Vec::new()))?,
            0x90 => {
                let items = self.pop_mark()?;
                let set = self.top()?;
                match &mut self.values[set.0 as usize] {
                    Value::Set(found) => found.extend(items),
                    Value::Object(object) => object.items.extend(items),
                    _ => return Err(self.stack("a set")),
                }
            }
            0x91 => {
                let items = self.pop_mark()?;
                self.push(Value::Set(items))?;
            }

            // Names, calls and what goes into their results: recorded, never done.
            b'c' => {
                let module = self.line()?.to_owned();
                let name = self.line()?.to_owned();
                self.global(Global { module, name })?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Str(module), Value::Str(name)) = (self.value(module), self.value(name))
                else {
                    return Err(self.stack("a module and a name"));
                };
                let global = Global {
                    module: module.to_string(),
                    name: name.to_string(),
                };
                self.global(global)?;
            }
            b'R' | 0x81 => {
                let (args, class) = (self.pop()?, self.pop()?);
                self.call(class, args)?;
            }
            0x92 => {
                let (keywords, args, class) = (self.pop()?, self.pop()?, self.pop()?);
                let args = self.insert(Value::Tuple([args, keywords].into()))?;
                self.call(class, args)?;
            }
            b'i' => {
                let module = self.line()?.to_owned();
                let name = self.line()?.to_owned();
                let args = self.pop_mark()?;
                self.global(Global { module, name })?;
                let class = self.pop()?;
                let args = self.insert(Value::Tuple(args.into()))?;
                self.call(class, args)?;
            }
            b'o' => {
                let mut args = self.pop_mark()?.into_iter();
                let class = args.next().ok_or_else(|| self.stack("a class"))?;
                let args = self.insert(Value::Tuple(args.collect()))?;
                self.call(class, args)?;
            }
            b'b' => {
                let state = self.pop()?;
                let object = self.top()?;
                match &mut self.values[object.0 as usize] {
                    Value::Object(object) => object.state = Some(state),
                    _ => return Err(self.stack("an object to put a state into")),
                }
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            b'P' => {
                let text = self.line()?.into();
                let id = self.insert(Value::Str(text))?;
                self.push(Value::Persistent(id))?;
            }

            // The memo.
            b'q' => {
                let index = self.u8()?;
                self.store(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.store(index.into())?;
            }
            b'p' => {
                let index = self.index()?;
                self.store(index)?;
            }
            0x94 => self.store(self.memo.len() as u64)?,
            b'h' => {
                let index = self.u8()?;
                self.fetch(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.fetch(index.into())?;
            }
            b'g' => {
                let index = self.index()?;
                self.fetch(index)?;
            }

            // EXT1, EXT2, EXT4 (a registry that torch does not use) and out-of-band buffers too.
            opcode => {
                return Err(PickleError::Opcode {
                    opcode,
                    offset: self.begin,
                });
            }
        }
        Ok(None)
    }

    // Reading.

    fn take(&mut self, len: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.checked_add(len);
        let bytes = end.and_then(|end| self.bytes.get(self.at..end));
        let bytes = bytes.ok_or(PickleError::Truncated { offset: self.begin })?;
        self.at += len;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let bytes = self.take(N)?;
        bytes
            .try_into()
            .map_err(|_| PickleError::Truncated { offset: self.begin })
    }

    fn u8(&mut self) -> Result<u8, PickleError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn len_u32(&mut self) -> Result<usize, PickleError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn len_u64(&mut self) -> Result<usize, PickleError> {
        // A length beyond the address space is beyond the file.
        Ok(usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX))
    }

    /// Text up to the next line feed, which is dropped.
    fn line(&mut self) -> Result<&'a str, PickleError> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&byte| byte == b'\n');
        let len = len.ok_or(PickleError::Truncated { offset: self.begin })?;
        let line = self.take(len)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| self.text("text"))
    }

    fn index(&mut self) -> Result<u64, PickleError> {
        let line = self.line()?;
        line.trim().parse().map_err(|_| self.text("an index"))
    }

    fn long(&mut self, len: usize) -> Result<(), PickleError> {
        let bytes = self.take(len)?;
        let value = if bytes.len() <= 8 {
            let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
            let mut wide = [if negative { 0xff } else { 0 }; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(wide))
        } else {
            Value::Long(bytes.into())
        };
        self.push(value)
    }

    fn str(&mut self, len: usize) -> Result<(), PickleError> {
        let bytes = self.take(len)?;
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            // Python writes lone surrogates, which are not UTF-8 here.
            Err(_) => String::from_utf8_lossy(bytes).into(),
        };
        self.push(Value::Str(text))
    }

    fn python2_string(&mut self, len: usize) -> Result<(), PickleError> {
        let bytes = self.take(len)?;
        self.push(match std::str::from_utf8(bytes) {
            Ok(text) => Value::Str(text.into()),
            Err(_) => Value::Bytes(bytes.into()),
        })
    }

    fn byte_string(&mut self, len: usize) -> Result<(), PickleError> {
        let bytes = self.take(len)?.into();
        self.push(Value::Bytes(bytes))
    }

    // The arena and the stack.

    fn insert(&mut self, value: Value) -> Result<Id, PickleError> {
        if self.values.len() >= MAX_VALUES {
            return Err(PickleError::TooManyValues { limit: MAX_VALUES });
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

    /// Height of the stack below which the current instruction may not reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, PickleError> {
        match self.stack.last() {
            Some(&top) if self.stack.len() > self.floor() => Ok(top),
            _ => Err(self.stack("a value")),
        }
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

    /// Everything above the last MARK, and the MARK.
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
        let list = self.top()?;
        match &mut self.values[list.0 as usize] {
            Value::List(found) => found.extend(items),
            Value::Object(object) => object.items.extend(items),
            _ => return Err(self.stack("a list")),
        }
        Ok(())
    }

    fn set_entries(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        let pairs = self.pairs(items)?;
        let dictionary = self.top()?;
        match &mut self.values[dictionary.0 as usize] {
            Value::Dict(entries) => entries.extend(pairs),
            Value::Object(object) => object.entries.extend(pairs),
            _ => return Err(self.stack("a dictionary")),
        }
        Ok(())
    }

    fn store(&mut self, index: u64) -> Result<(), PickleError> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn fetch(&mut self, index: u64) -> Result<(), PickleError> {
        let id = self.memo.get(&index).copied();
        let id = id.ok_or(PickleError::Memo {
            offset: self.begin,
            index,
        })?;
        self.stack.push(id);
        Ok(())
    }

    // Names and calls.

    fn global(&mut self, global: Global) -> Result<(), PickleError> {
        self.globals.insert(global.clone());
        self.push(Value::Global(Box::new(global)))
    }

    /// Records a call, or refuses the file.
    fn call(&mut self, class: Id, args: Id) -> Result<(), PickleError> {
        match self.value(class) {
            Value::Global(global) => {
                if globals::is_hostile(global) && !self.is_enum_member(global, args) {
                    let global = global.to_string();
                    return Err(PickleError::Hostile {
                        global,
                        offset: self.begin,
                    });
                }
            }
            Value::Object(_) | Value::Persistent(_) => {}
            _ => return Err(self.stack("something to call")),
        }
        let object = Object {
            class,
            args,
            state: None,
            entries: Vec::new(),
            items: Vec::new(),
        };
        self.push(Value::Object(Box::new(object)))
    }

    /// Python 3.11.0 to 3.11.3 wrote a member of an enumeration as `getattr(Problem, "NAME")`:
    /// harmless for classes that checkpoints are known to hold and for plain names.
    fn is_enum_member(&self, global: &Global, args: Id) -> bool {
        if global.name != "getattr" {
            return false;
        }
        let Value::Tuple(args) = self.value(args) else {
            return false;
        };
        let &[class, name] = &**args else {
            return false;
        };
        let (Value::Global(class), Value::Str(name)) = (self.value(class), self.value(name)) else {
            return false;
        };
        let package = class.module.split('.').next().unwrap_or_default();
        package == "pyannote" && globals::is_known(class) && !name.starts_with('_')
    }

    // Errors.

    fn stack(&self, wants: &'static str) -> PickleError {
        PickleError::Stack {
            opcode: self.opcode,
            offset: self.begin,
            wants,
        }
    }

    fn text(&self, expected: &'static str) -> PickleError {
        PickleError::Text {
            offset: self.begin,
            expected,
        }
    }
}
