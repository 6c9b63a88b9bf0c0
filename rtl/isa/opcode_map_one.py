"""The one-byte opcode map of the integer i586, as rows of text.

The notation is that of `rtl.isa.opcodes`. Intel SDM vol. 2D, appendix A, table A-2 and group tables A-6.
"""

ROWS = """
00 add Eb,Gb lock
01 add Ev,Gv lock
02 add Gb,Eb
03 add Gv,Ev
04 add AL,Ib
05 add eAX,Iv
06 push ES
07 pop ES
08 or Eb,Gb lock
09 or Ev,Gv lock
0A or Gb,Eb
0B or Gv,Ev
0C or AL,Ib
0D or eAX,Iv
0E push CS
10 adc Eb,Gb lock
11 adc Ev,Gv lock
12 adc Gb,Eb
13 adc Gv,Ev
14 adc AL,Ib
15 adc eAX,Iv
16 push SS
17 pop SS
18 sbb Eb,Gb lock
19 sbb Ev,Gv lock
1A sbb Gb,Eb
1B sbb Gv,Ev
1C sbb AL,Ib
1D sbb eAX,Iv
1E push DS
1F pop DS
20 and Eb,Gb lock
21 and Ev,Gv lock
22 and Gb,Eb
23 and Gv,Ev
24 and AL,Ib
25 and eAX,Iv
27 daa
28 sub Eb,Gb lock
29 sub Ev,Gv lock
2A sub Gb,Eb
2B sub Gv,Ev
2C sub AL,Ib
2D sub eAX,Iv
2F das
30 xor Eb,Gb lock
31 xor Ev,Gv lock
32 xor Gb,Eb
33 xor Gv,Ev
34 xor AL,Ib
35 xor eAX,Iv
37 aaa
38 cmp Eb,Gb
39 cmp Ev,Gv
3A cmp Gb,Eb
3B cmp Gv,Ev
3C cmp AL,Ib
3D cmp eAX,Iv
3F aas
40..47 inc Zv
48..4F dec Zv
50..57 push Zv
58..5F pop Zv
60 pusha
61 popa
62 bound Gv,Ma
63 arpl Ew,Gw
68 push Iv
69 imul Gv,Ev,Iv
6A push Ibs
6B imul Gv,Ev,Ibs
6C ins Yb,DX rep io
6D ins Yv,DX rep io
6E outs DX,Xb rep io
6F outs DX,Xv rep io
70..7F j{cc} Jb
80 /0 add Eb,Ib lock
80 /1 or Eb,Ib lock
80 /2 adc Eb,Ib lock
80 /3 sbb Eb,Ib lock
80 /4 and Eb,Ib lock
80 /5 sub Eb,Ib lock
80 /6 xor Eb,Ib lock
80 /7 cmp Eb,Ib
81 /0 add Ev,Iv lock
81 /1 or Ev,Iv lock
81 /2 adc Ev,Iv lock
81 /3 sbb Ev,Iv lock
81 /4 and Ev,Iv lock
81 /5 sub Ev,Iv lock
81 /6 xor Ev,Iv lock
81 /7 cmp Ev,Iv
82 /0 add Eb,Ib lock alias
82 /1 or Eb,Ib lock alias
82 /2 adc Eb,Ib lock alias
82 /3 sbb Eb,Ib lock alias
82 /4 and Eb,Ib lock alias
82 /5 sub Eb,Ib lock alias
82 /6 xor Eb,Ib lock alias
82 /7 cmp Eb,Ib alias
83 /0 add Ev,Ibs lock
83 /1 or Ev,Ibs lock
83 /2 adc Ev,Ibs lock
83 /3 sbb Ev,Ibs lock
83 /4 and Ev,Ibs lock
83 /5 sub Ev,Ibs lock
83 /6 xor Ev,Ibs lock
83 /7 cmp Ev,Ibs
84 test Eb,Gb
85 test Ev,Gv
86 xchg Eb,Gb lock
87 xchg Ev,Gv lock
88 mov Eb,Gb
89 mov Ev,Gv
8A mov Gb,Eb
8B mov Gv,Ev
8C /0-5 mov MwRv,Sw
8D lea Gv,M
8E /0,2-5 mov Sw,Ew
8F /0 pop Ev
90 nop
91..97 xchg Zv,eAX
98 cbw
99 cwd
9A callf Ap
9B wait x87
9C pushf Fv
9D popf Fv
9E sahf
9F lahf
A0 mov AL,Ob
A1 mov eAX,Ov
A2 mov Ob,AL
A3 mov Ov,eAX
A4 movs Yb,Xb rep
A5 movs Yv,Xv rep
A6 cmps Xb,Yb repe
A7 cmps Xv,Yv repe
A8 test AL,Ib
A9 test eAX,Iv
AA stos Yb,AL rep
AB stos Yv,eAX rep
AC lods AL,Xb rep
AD lods eAX,Xv rep
AE scas AL,Yb repe
AF scas eAX,Yv repe
B0..B7 mov Zb,Ib
B8..BF mov Zv,Iv
C0 /0 rol Eb,Ib
C0 /1 ror Eb,Ib
C0 /2 rcl Eb,Ib
C0 /3 rcr Eb,Ib
C0 /4 shl Eb,Ib
C0 /5 shr Eb,Ib
C0 /6 shl Eb,Ib alias
C0 /7 sar Eb,Ib
C1 /0 rol Ev,Ib
C1 /1 ror Ev,Ib
C1 /2 rcl Ev,Ib
C1 /3 rcr Ev,Ib
C1 /4 shl Ev,Ib
C1 /5 shr Ev,Ib
C1 /6 shl Ev,Ib alias
C1 /7 sar Ev,Ib
C2 ret Iw
C3 ret
C4 les Gv,Mp
C5 lds Gv,Mp
C6 /0 mov Eb,Ib
C7 /0 mov Ev,Iv
C8 enter Iw,Ib
C9 leave
CA retf Iw
CB retf
CC int3
CD int Ib
CE into
CF iret
D0 /0 rol Eb,One
D0 /1 ror Eb,One
D0 /2 rcl Eb,One
D0 /3 rcr Eb,One
D0 /4 shl Eb,One
D0 /5 shr Eb,One
D0 /6 shl Eb,One alias
D0 /7 sar Eb,One
D1 /0 rol Ev,One
D1 /1 ror Ev,One
D1 /2 rcl Ev,One
D1 /3 rcr Ev,One
D1 /4 shl Ev,One
D1 /5 shr Ev,One
D1 /6 shl Ev,One alias
D1 /7 sar Ev,One
D2 /0 rol Eb,CL
D2 /1 ror Eb,CL
D2 /2 rcl Eb,CL
D2 /3 rcr Eb,CL
D2 /4 shl Eb,CL
D2 /5 shr Eb,CL
D2 /6 shl Eb,CL alias
D2 /7 sar Eb,CL
D3 /0 rol Ev,CL
D3 /1 ror Ev,CL
D3 /2 rcl Ev,CL
D3 /3 rcr Ev,CL
D3 /4 shl Ev,CL
D3 /5 shr Ev,CL
D3 /6 shl Ev,CL alias
D3 /7 sar Ev,CL
D4 aam Ib
D5 aad Ib
D6 salc alias
D7 xlat
D8..DF esc Ex x87
E0 loopne Jb
E1 loope Jb
E2 loop Jb
E3 jcxz Jb
E4 in AL,Ib io
E5 in eAX,Ib io
E6 out Ib,AL io
E7 out Ib,eAX io
E8 call Jv
E9 jmp Jv
EA jmpf Ap
EB jmp Jb
EC in AL,DX io
ED in eAX,DX io
EE out DX,AL io
EF out DX,eAX io
F1 icebp
F4 hlt cpl0
F5 cmc
F6 /0 test Eb,Ib
F6 /1 test Eb,Ib alias
F6 /2 not Eb lock
F6 /3 neg Eb lock
F6 /4 mul Eb
F6 /5 imul Eb
F6 /6 div Eb
F6 /7 idiv Eb
F7 /0 test Ev,Iv
F7 /1 test Ev,Iv alias
F7 /2 not Ev lock
F7 /3 neg Ev lock
F7 /4 mul Ev
F7 /5 imul Ev
F7 /6 div Ev
F7 /7 idiv Ev
F8 clc
F9 stc
FA cli iopl
FB sti iopl
FC cld
FD std
FE /0 inc Eb lock
FE /1 dec Eb lock
FF /0 inc Ev lock
FF /1 dec Ev lock
FF /2 call Ev
FF /3 callf Mp
FF /4 jmp Ev
FF /5 jmpf Mp
FF /6 push Ev
"""
