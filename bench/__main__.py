from bench.step1 import main

main()
