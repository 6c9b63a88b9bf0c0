"""The flag effects of every operation, as rows of text read by `rtl.isa.flags`.

    OPERATIONS | CASE | READ | WRITTEN | UNDEFINED | NOTE

Flags are letters: O S Z A P C, then D I T N R V for DF IF TF NT RF VM, L for IOPL, M for AC, X for ID. Operations that
no row names neither read nor change a flag. The manual is the Intel SDM, vol. 2 (instruction pages) and vol. 1,
appendix A (EFLAGS cross-reference); the note says what this processor does where the manual leaves a flag undefined.
"""

ROWS = """
add sub cmp neg xadd cmpxchg | always | - | OSZAPC | - |
adc sbb | always | C | OSZAPC | - |
inc dec | always | - | OSZAP | - |
and or xor test | always | - | OSZPC | A | AF is cleared
mul imul | always | - | OC | SZAP | SF, ZF and PF are those of the low half, AF is cleared
div idiv | always | - | - | OSZAPC | unchanged
shl shr | count_zero | - | - | - |
shl shr | count_one | - | OSZPC | A | AF is cleared
shl shr | count_many | - | SZPC | OA | OF is that of the last single-bit step, AF is cleared
shl shr | count_size | - | SZP | OAC | CF and OF are those of the last single-bit step, AF is cleared
sar | count_zero | - | - | - |
sar | count_one | - | OSZPC | A | AF is cleared
sar | count_many count_size | - | SZPC | OA | OF and AF are cleared
rol ror | count_zero | - | - | - |
rol ror | count_one | - | OC | - |
rol ror | count_many count_size | - | C | O | OF is that of the last single-bit step
rcl rcr | count_zero | - | - | - |
rcl rcr | count_one | C | OC | - |
rcl rcr | count_many count_size | C | C | O | OF is that of the last step; a multiple of size + 1 changes no flag
shld shrd | count_zero | - | - | - |
shld shrd | count_one | - | OSZPC | A | AF is cleared
shld shrd | count_many | - | SZPC | OA | OF is that of the last single-bit step, AF is cleared
shld shrd | count_size | - | - | OSZAPC | as destination:source:destination shifted on, AF is cleared
bt bts btr btc | always | - | C | OSAP | unchanged
bsf bsr | always | - | Z | OSAPC | unchanged
daa das | always | AC | SZAPC | O | OF is cleared
aaa aas | always | A | AC | OSZP | OF is cleared, SF, ZF and PF are those of AL
aam aad | always | - | SZP | OAC | cleared
cmpxchg8b | always | - | Z | - |
arpl lar lsl verr verw | always | - | Z | - |
sahf | always | - | SZAPC | - |
lahf | always | SZAPC | - | - |
salc | always | C | - | - |
stc clc | always | - | C | - |
cmc | always | C | C | - |
std cld | always | - | D | - |
sti cli | always | L | I | - |
movs stos lods ins outs | always | D | - | - |
cmps scas | always | D | OSZAPC | - |
loope loopne | always | Z | - | - |
into | always | O | ITNRV | - |
int int3 icebp | always | - | ITNRV | - |
pushf | always | OSZAPCDITNLMX | - | - |
popf | always | L | OSZAPCDITNLMXR | - |
iret | always | NL | OSZAPCDITNLMXR | - |
callf jmpf | always | - | OSZAPCDITNLMXR | - | only through a task switch
sysenter | always | - | IRV | - |
"""
