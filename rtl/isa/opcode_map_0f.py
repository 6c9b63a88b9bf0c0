"""The two-byte (0F) opcode map of the integer i586, with CMOV, SYSENTER, RDPMC, the hint NOPs and SVM, as rows of text.

The notation is that of `rtl.isa.opcodes`. Intel SDM vol. 2D, appendix A, table A-3; AMD64 APM vol. 3, appendix A
(group 7, register forms) for SVM. MMX, SSE and later rows are absent on purpose: they are #UD.
"""

ROWS = """
0F 00 /0 sldt MwRv
0F 00 /1 str MwRv
0F 00 /2 lldt Ew cpl0
0F 00 /3 ltr Ew cpl0
0F 00 /4 verr Ew
0F 00 /5 verw Ew
0F 01 /0 sgdt Ms
0F 01 /1 sidt Ms
0F 01 /2 lgdt Ms cpl0
0F 01 /3 lidt Ms cpl0
0F 01 /4 smsw MwRv
0F 01 /6 lmsw Ew cpl0
0F 01 /7 invlpg M cpl0
0F 01 D8 vmrun cpl0 svm
0F 01 D9 vmmcall svm
0F 01 DA vmload cpl0 svm
0F 01 DB vmsave cpl0 svm
0F 01 DC stgi cpl0 svm
0F 01 DD clgi cpl0 svm
0F 01 DE skinit cpl0 svm
0F 01 DF invlpga cpl0 svm
0F 02 lar Gv,Ew
0F 03 lsl Gv,Ew
0F 06 clts cpl0
0F 08 invd cpl0
0F 09 wbinvd cpl0
0F 0B ud2
0F 18..1F nop Ev
0F 20 /0,2-4 mov Rd,Cd cpl0
0F 21 mov Rd,Dd cpl0
0F 22 /0,2-4 mov Cd,Rd cpl0
0F 23 mov Dd,Rd cpl0
0F 30 wrmsr cpl0
0F 31 rdtsc
0F 32 rdmsr cpl0
0F 33 rdpmc
0F 34 sysenter
0F 35 sysexit cpl0
0F 40..4F cmov{cc} Gv,Ev
0F 80..8F j{cc} Jv
0F 90..9F set{cc} Eb
0F A0 push FS
0F A1 pop FS
0F A2 cpuid
0F A3 bt Ev,Gv
0F A4 shld Ev,Gv,Ib
0F A5 shld Ev,Gv,CL
0F A8 push GS
0F A9 pop GS
0F AA rsm smm
0F AB bts Ev,Gv lock
0F AC shrd Ev,Gv,Ib
0F AD shrd Ev,Gv,CL
0F AF imul Gv,Ev
0F B0 cmpxchg Eb,Gb lock
0F B1 cmpxchg Ev,Gv lock
0F B2 lss Gv,Mp
0F B3 btr Ev,Gv lock
0F B4 lfs Gv,Mp
0F B5 lgs Gv,Mp
0F B6 movzx Gv,Eb
0F B7 movzx Gv,Ew
0F BA /4 bt Ev,Ib
0F BA /5 bts Ev,Ib lock
0F BA /6 btr Ev,Ib lock
0F BA /7 btc Ev,Ib lock
0F BB btc Ev,Gv lock
0F BC bsf Gv,Ev
0F BD bsr Gv,Ev
0F BE movsx Gv,Eb
0F BF movsx Gv,Ew
0F C0 xadd Eb,Gb lock
0F C1 xadd Ev,Gv lock
0F C7 /1 cmpxchg8b Mq lock
0F C8..CF bswap Zv
"""
